// Package workers hosts Temporal workers: control.go the one beside the database, with the dispatcher of the outbox,
// and gpu.go the one that owns a slot queue. Both sweep at their start what an earlier life of theirs left behind.
package workers
