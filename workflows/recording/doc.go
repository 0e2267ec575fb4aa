// Package recording runs every workflow on a real Temporal and writes the histories that the replay tests of package
// workflows read:
//
//	go test ./workflows/recording -run TestRecordHistories -record
//
// Without -record it runs the same stories and writes nothing. It is a package of its own because it needs the embedded
// server, whose build takes minutes; replaying does not.
//
// Record a new version (-version v2) when workflows change on purpose behind workflow.GetVersion; the old ones stay, for
// runs that were begun by an older release must go on.
package recording
