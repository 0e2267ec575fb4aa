// Package runner supervises the Python subprocess of one run: it claims an epoch, fetches what the run needs, starts the
// runner detached, ships its events, commits its checkpoints, and hands in its result. docs/runner-protocol.md has the
// protocol, docs/adr the reasons.
//
// Nothing here is remembered in memory only. A run's scratch folder and the gateway say all there is to know, so that a
// Supervisor that is killed at any moment is continued by the next one:
//
//	SCRATCH/lock                               one worker an instance
//	SCRATCH/instance, SCRATCH/boot             names of this scratch folder and of this start
//	SCRATCH/models/                            base models, kept
//	SCRATCH/warm.sock, warm.json, warm.log     the warm parent
//	SCRATCH/engines/<key>/                     serving processes (package engine)
//	SCRATCH/runs/<run>/data/<sha256>           fetched inputs
//	SCRATCH/runs/<run>/checkpoints/step-…      as the runner saved them
//	SCRATCH/runs/<run>/out/                    artifacts
//	SCRATCH/runs/<run>/crashes.json            deaths in a row without progress
//	SCRATCH/runs/<run>/e<epoch>/               one launch: spec.json, lease.json, events.ndjson, stderr.log, result.json
//
// The folder is plain and of mode 0700; a run's part is wiped once its job has ended.
package runner
