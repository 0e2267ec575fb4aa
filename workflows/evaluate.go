package workflows

import (
	"encoding/json"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/vibeflow/vibeflow/contract"
)

// Evaluate compares a tuned model with its base on held-out rows. The event "evaluation.completed" carries the run's
// metrics (a contract.EvaluationResult without samples). Cancel ends it at any time.
func Evaluate(ctx workflow.Context, in contract.EvaluateInput) (contract.EvaluateResult, error) {
	e := &evaluation{slotRun{
		id: in.EvaluationID, kind: contract.KindEvaluation, queue: in.Queue, activity: contract.ActivityEvaluate,
		log: newRecorder(ctx, contract.KindEvaluation, in.EvaluationID), ending: newEnding(ctx, contract.SignalCancel), turns: newTurns(ctx),
	}}
	return e.evaluate(detach(ctx))
}

type evaluation struct{ slotRun }

func (e *evaluation) evaluate(ctx workflow.Context) (contract.EvaluateResult, error) {
	out, err := e.run(ctx)
	if err != nil {
		return contract.EvaluateResult{}, e.unfinished(ctx, err)
	}
	var measured contract.EvaluationResult
	if err := json.Unmarshal(out.Metrics, &measured); err != nil {
		problem := contract.Errorf(contract.CodeInternal, "the evaluation's result cannot be read")
		return contract.EvaluateResult{}, e.log.fail(ctx, problem)
	}
	e.log.show(ctx, string(contract.StatusCompleted), fmt.Sprintf("Verdict: %s, loss %+.4f", measured.Verdict, measured.LossDelta))
	if err := e.log.record(ctx, contract.EventCompleted, out.Metrics); err != nil {
		return contract.EvaluateResult{}, err
	}
	return contract.EvaluateResult{Verdict: measured.Verdict, LossDelta: measured.LossDelta, CI: measured.LossDeltaCI}, nil
}
