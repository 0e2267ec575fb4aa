// Package contract is the leaf that every other VibeFlow package agrees on: workflow, activity, queue and
// signal names, identifiers, the messages that cross a process boundary, the events of the log, and typed errors.
//
// It imports the standard library only, so that a workflow, an HTTP handler and a GPU worker can share a message
// without sharing a dependency. The Python runner reads and writes the same JSON (docs/runner-protocol.md).
package contract
