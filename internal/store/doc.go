// Package store is VibeFlow's state: one SQLite file in which an append-only event log is the truth of everything that
// workflows drive, and the rows that people list are projections of it, written in the same transaction (design §5).
//
// One connection writes and a small pool reads, in WAL mode with synchronous=FULL: readers never wait for the writer,
// and what a call has returned survives the loss of power. Only the server process opens the file.
//
// Errors that a caller can act on are *contract.Error (not_found, conflict, epoch_superseded, invalid, disk_full).
package store
