// Package workflows is VibeFlow's deterministic orchestration: one file a workflow, each an exported stub over a
// private struct whose run method reads as the story. docs/state-machine.md draws the states.
//
// A workflow decides; activities act. Histories hold decisions only, so a run of fifty steps and one of five thousand
// leave the same history. Every decision is appended to the event log by a local activity under the source
// "wf/<run id>", so that a replayed or retried one changes nothing.
//
// All of them work on a context that Temporal's own cancellation does not reach: a cancel request is a message like the
// signal `cancel`, and what was begun is wound up and recorded before the workflow closes.
package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Registry is the part of a worker (or of a replayer) that workflows register with.
type Registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

// Register names every workflow of this package as contract does.
func Register(r Registry) {
	for name, fn := range map[string]any{
		contract.WorkflowIngest:   Ingest,
		contract.WorkflowTrain:    Train,
		contract.WorkflowEvaluate: Evaluate,
		contract.WorkflowDeploy:   Deploy,
		contract.WorkflowExport:   Export,
		contract.WorkflowPipeline: Pipeline,
		contract.WorkflowTokens:   Tokens,
	} {
		r.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
	}
}
