package contract

import "encoding/json"

// The worker gateway: HTTP under /internal of the server, the only door that a worker has to data. Each worker signs in
// with the worker token, and each launch gets a token that reaches one run under one epoch.
//
//	PUT  /internal/workers/{id}                        WorkerReport → 204          worker token
//	GET  /internal/runs/{run}                          → RunState                  worker token
//	POST /internal/runs/{run}/claim                    ClaimRequest → Claim        worker token
//	POST /internal/runs/{run}/adopt                    AdoptRequest → Claim        worker token (spec is left out)
//	POST /internal/runs/{run}/events                   EventBatch → Ack            run token
//	GET  /internal/runs/{run}/blobs/{sha256}           → bytes (Range)             run token
//	HEAD /internal/runs/{run}/blobs/{sha256}           → 200 stored, 404 not       run token
//	GET  /internal/runs/{run}/uploads/{sha256}         → UploadState               run token
//	PUT  /internal/runs/{run}/uploads/{sha256}?offset=&size=   chunk → UploadState run token
//	PUT  /internal/runs/{run}/checkpoints/{name}       Manifest → 204              run token
//	PUT  /internal/runs/{run}/artifacts/{name}         Manifest → 204              run token
//	PUT  /internal/runs/{run}/result                   RunResult → 204             run token
//	GET  /internal/deployments/{id}                    → DeploymentSpec            worker token
//	GET  /internal/deployments/{id}/blobs/{sha256}     → bytes (Range)             worker token
//	PUT  /internal/deployments/{id}/serving            Serving → 204               worker token
//	DELETE /internal/deployments/{id}/serving          → 204: its engine died      worker token
//	GET  /internal/tokens/{id}                         → TokensQuestion            worker token
//	PUT  /internal/tokens/{id}                         TokensAnswer → 204          worker token
//
// Errors are problem documents whose "code" is a Code; epoch_superseded (409) tells a worker to stop its runner.

// HeaderGateway is in each of the gateway's answers. One without it was given by something before the gateway (a proxy that
// leads astray, a network's sign-in page), and says nothing of what the gateway has or has taken.
const HeaderGateway = "Vibeflow-Gateway"

// UploadChunkBytes is the most that one PUT of an upload may carry.
const UploadChunkBytes = 8 << 20

// WorkerReport is what a worker tells of itself at start and every 30 s.
type WorkerReport struct {
	ID       string          `json:"id"`   // host/instance
	Boot     string          `json:"boot"` // changes with every start
	Queue    string          `json:"queue"`
	Slots    int             `json:"slots"`
	Version  string          `json:"version"`
	Hardware json.RawMessage `json:"hardware"` // hardware.Hardware
	// State is WorkerPreparing or WorkerReady; a worker without one is ready.
	State string `json:"state,omitempty"`
}

// States of a worker.
const (
	WorkerPreparing = "preparing" // builds the runner's environment, takes no work yet
	WorkerReady     = "ready"
)

// TokensQuestion asks what a model's tokenizer makes of some rows. Rows and tokens pass through the gateway alone: they are
// users' content, which no workflow's history may hold.
type TokensQuestion struct {
	Model          ModelRef          `json:"model"`
	Format         string            `json:"format"` // of DatasetRef
	CompletionOnly bool              `json:"completion_only"`
	Rows           []json.RawMessage `json:"rows"` // canonical ones
}

// TokensAnswer has as many rows as the question, or Error.
type TokensAnswer struct {
	Rows  []TokensRow `json:"rows"`
	Error *Error      `json:"error,omitempty"`
}

// TokensRow is a row as the runner's `inspect` prints it; Row counts from 0 in the question.
type TokensRow struct {
	Row    int     `json:"row"`
	Tokens []Token `json:"tokens"`
}

// Token is one token: what it adds to the text, and whether training learns it.
type Token struct {
	ID      int    `json:"id"`
	Text    string `json:"text"`
	Trained bool   `json:"trained"`
}

// RunState is what the gateway knows of a run.
type RunState struct {
	RunID  string `json:"run_id"`
	Kind   Kind   `json:"kind"`
	Epoch  int64  `json:"epoch"` // 0: never claimed
	Worker string `json:"worker,omitempty"`
	Status Status `json:"status"`
	// Acked is the last line of the current epoch's event file that the log holds.
	Acked int64 `json:"acked"`
	// Checkpoint is the newest committed one, Earlier are those before it that are kept, the newest first.
	Checkpoint *Manifest  `json:"checkpoint,omitempty"`
	Earlier    []Manifest `json:"earlier,omitempty"`
	// Result is set once the current epoch's result was taken.
	Result *RunResult `json:"result,omitempty"`
}

// ClaimRequest asks for a new epoch; it is refused (409) unless ExpectEpoch is still the current one.
type ClaimRequest struct {
	ExpectEpoch int64  `json:"expect_epoch"`
	Worker      string `json:"worker"` // host/instance/boot
	// Step is the step that the launch goes on from; the log gets a `rewound` event when it had told of later ones.
	Step int `json:"step"`
	// Adjust changes the configuration for this launch and all later ones.
	Adjust *Adjustment `json:"adjust,omitempty"`
	// Damaged names committed checkpoints that the gateway itself could not give whole: it forgets them.
	Damaged []string `json:"damaged,omitempty"`
	// Notes are warnings for people, which the run's log gets with the launch: what happened, and how the run goes on.
	Notes []string `json:"notes,omitempty"`
}

// Limits of a claim.
const (
	ClaimNotes     = 16
	ClaimNoteBytes = 8 << 10
)

// AdoptRequest asks for a fresh token of the current epoch, for a worker that found its runner alive.
type AdoptRequest struct {
	Epoch  int64  `json:"epoch"`
	Worker string `json:"worker"`
}

// Claim is a launch: its epoch, its token and what to do.
type Claim struct {
	Epoch int64    `json:"epoch"`
	Token string   `json:"token"`
	Acked int64    `json:"acked"`
	Spec  *RunSpec `json:"spec,omitempty"`
	// Checkpoint is the newest committed one; the spec's ResumeFrom is the worker's to fill in.
	Checkpoint *Manifest `json:"checkpoint,omitempty"`
}

// EventBatch delivers lines First … First+len(Lines)-1 of an epoch's event file, as the runner wrote them.
type EventBatch struct {
	Epoch int64             `json:"epoch"`
	First int64             `json:"first"`
	Lines []json.RawMessage `json:"lines"`
}

// Ack says up to which line the log holds an epoch's events.
type Ack struct {
	Epoch int64 `json:"epoch"`
	Acked int64 `json:"acked"`
}

// UploadState is how much of an upload has arrived.
type UploadState struct {
	SHA256   string `json:"sha256"`
	Received int64  `json:"received"`
	Complete bool   `json:"complete"`
}

// DeploymentSpec tells a worker what to serve.
type DeploymentSpec struct {
	DeploymentID string   `json:"deployment_id"`
	ModelID      string   `json:"model_id"`
	Base         ModelRef `json:"base"`
	// Weights is nil when the base itself is served.
	Weights *Input `json:"weights,omitempty"`
	// Served says that it has answered before: the machine took it once, and will again.
	Served bool `json:"served,omitempty"`
}
