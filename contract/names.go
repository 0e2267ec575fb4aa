package contract

import "strings"

// Temporal namespace and task queues. Control work (database, blobs, secrets) and GPU work (Python, weights) never
// share a queue: design §2.
const (
	Namespace    = "vibeflow"
	QueueControl = "control"
	QueueCPU     = "cpu"
)

// GPUQueue names the slot queue of a class of GPU, for example "gpu.h200".
func GPUQueue(class string) string { return "gpu." + strings.ToLower(class) }

// ServeQueue names the queue beside a slot queue on which deployments run: serving is admitted by memory, not by slot.
func ServeQueue(queue string) string { return queue + ".serve" }

// Workflow types.
const (
	WorkflowIngest   = "Ingest"
	WorkflowTrain    = "Train"
	WorkflowEvaluate = "Evaluate"
	WorkflowDeploy   = "Deploy"
	WorkflowExport   = "Export"
	WorkflowPipeline = "Pipeline"
	WorkflowTokens   = "Tokens" // shows some rows as a model's tokens; leaves nothing behind
)

// Activities of the control queue.
const (
	ActivityRecordEvents   = "RecordEvents"   // appends workflow decisions to the event log
	ActivityProfileDataset = "ProfileDataset" // detect, validate, profile
	ActivityProcessDataset = "ProcessDataset" // map, deduplicate, filter, split
	ActivityRecommend      = "Recommend"
	ActivityRegisterModel  = "RegisterModel"
	ActivityStartStage     = "StartStage" // creates the row that a pipeline's stage works on
	ActivityAssembleExport = "AssembleExport"
	ActivityAwaitStatus    = "AwaitStatus" // waits until a resource is ready, serving or ended
	ActivityAwaitStore     = "AwaitStore"  // waits until the server's disk has room again
)

// Activities of the slot queues and their serve queues.
const (
	ActivityTrain     = "RunTraining"
	ActivityEvaluate  = "RunEvaluation"
	ActivityExport    = "RunExport"
	ActivityServe     = "Serve"
	ActivityTokens    = "ShowTokens"
	ActivityAwaitRoom = "AwaitRoom" // waits until a worker's disk has room for a run again
)

// Signals.
const (
	SignalTurn    = "turn" // payload Turn: the line lets a run go to a slot
	SignalPause   = "pause"
	SignalResume  = "resume"
	SignalCancel  = "cancel"  // payload CancelRequest
	SignalConfirm = "confirm" // payload ConfirmRequest
	SignalRetry   = "retry"
	SignalStop    = "stop"
)

// Search attributes set on every workflow, so that Temporal's UI reads well.
const (
	SearchAttributeProject   = "VibeFlowProject"
	SearchAttributeStage     = "VibeFlowStage"
	SearchAttributeBaseModel = "VibeFlowBaseModel"
)

// Kind is the sort of resource that a stream of events describes and a workflow drives.
type Kind string

// The kinds, each also the prefix of its stream and of its workflow ID.
const (
	KindDataset    Kind = "dataset"
	KindJob        Kind = "job"
	KindEvaluation Kind = "evaluation"
	KindDeployment Kind = "deployment"
	KindExport     Kind = "export"
	KindPipeline   Kind = "pipeline"
)

// Stream is the event stream of one resource, "job/job_01h…".
func Stream(kind Kind, id string) string { return string(kind) + "/" + id }

// SplitStream is the inverse of Stream; ok is false for a string that Stream did not make.
func SplitStream(stream string) (kind Kind, id string, ok bool) {
	k, id, ok := strings.Cut(stream, "/")
	return Kind(k), id, ok && k != "" && id != ""
}

// WorkflowID is the ID of the workflow that drives a resource: "train/<job>", "eval/<id>", "deploy/<id>", …
func WorkflowID(kind Kind, id string) string {
	prefix := map[Kind]string{
		KindJob: "train", KindEvaluation: "eval", KindDeployment: "deploy",
	}[kind]
	if prefix == "" {
		prefix = string(kind)
	}
	return prefix + "/" + id
}

// SplitWorkflowID is the inverse of WorkflowID; what follows the resource's id ("dataset/<id>/2") is left out.
func SplitWorkflowID(workflowID string) (kind Kind, id string, ok bool) {
	prefix, rest, ok := strings.Cut(workflowID, "/")
	id, _, _ = strings.Cut(rest, "/")
	switch prefix {
	case "train":
		kind = KindJob
	case "eval":
		kind = KindEvaluation
	case "deploy":
		kind = KindDeployment
	default:
		kind = Kind(prefix)
	}
	return kind, id, ok && prefix != "" && id != ""
}
