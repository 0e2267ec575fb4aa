// Package chaos proves VibeFlow's promise on a machine at hand: whatever dies, at whatever moment, the same run finishes by
// itself with the result that it would have had undisturbed. It runs the built binary on a data folder of its own with the
// tiny model, kills one process (or all of them) in one stage at a random moment, restarts only what `up` or systemd would,
// and compares with a run that nothing disturbed. docs/durability.md says what the numbers mean.
package chaos
