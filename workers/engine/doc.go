// Package engine keeps serving processes: one a base model, shared by the adapters tuned from it, detached, so that it
// answers through a restart of the worker.
//
// An engine's folder under SCRATCH/engines tells all there is to know of it (engine.json, stderr.log, adapters/, and by the
// name of its start lease.json, ready.json and token), so that the next worker takes a live engine over. One that dies is started again and gets its
// adapters back; one that nobody uses for a minute is stopped. Its lease is the runner's: not renewed for ten minutes,
// and it leaves by itself.
package engine
