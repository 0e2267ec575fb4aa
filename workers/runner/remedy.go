package runner

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// rollbacksAllowed is how often a run goes back from a loss that is not finite, each time with half the rate.
const rollbacksAllowed = 2

// remedy is what the next launch of a run does otherwise, because of how the last one ended. The claim tells it to the
// gateway, in one transaction with the new epoch: what is told holds for every later launch, on whatever machine.
type remedy struct {
	adjust *contract.Adjustment
	notes  []string
}

// mend finds what the next launch is to do otherwise, so that a failure does not come again. False for a failure that
// nothing here mends. A worker that dies before the claim leaves the failure to the next one, which decides the same.
func (l *launch) mend(end death, problem contract.Error) bool {
	training := l.training()
	// Before the first event of the run's own there were only the weights: they do not fit, whatever the batch.
	if training == nil || end.total == 0 || problem.Field == "model" {
		return false
	}
	switch problem.Code {
	case contract.CodeOutOfMemory:
		return l.mendMemory(end, *training)
	case contract.CodeNonFiniteLoss:
		return l.mendRate(end, *training, problem)
	default:
		return false
	}
}

// training is the configuration that this launch was given, nil for another kind of run.
func (l *launch) training() *contract.Training {
	var spec contract.RunSpec
	if err := readJSON(l.dir.path(specFile), &spec); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("a launch's spec is unreadable", "error", err)
		}
		return nil
	}
	return spec.Training
}

// mendMemory trains the same effective batch in smaller pieces.
func (l *launch) mendMemory(end death, t contract.Training) bool {
	batch, accumulation := smaller(t.BatchSize, t.GradientAccumulationSteps)
	if batch >= t.BatchSize {
		return false
	}
	l.next = remedy{
		adjust: &contract.Adjustment{Code: contract.CodeOutOfMemory, Step: end.step, BatchSize: batch, GradientAccumulationSteps: accumulation},
		notes: []string{fmt.Sprintf("Memory was short %s with micro-batch %d × accumulation %d. The training goes on with micro-batch %d × accumulation %d: "+
			"the same %d rows a step, in smaller pieces.", after(end.step), t.BatchSize, t.GradientAccumulationSteps, batch, accumulation, batch*accumulation)},
	}
	return true
}

// smaller returns the micro-batch of at most half the rows whose multiple the effective batch is, and the accumulation
// that keeps the effective batch. A micro-batch of one row stays.
func smaller(batch, accumulation int) (int, int) {
	rows := batch * accumulation
	for half := batch / 2; half >= 1; half-- {
		if rows%half == 0 {
			return half, rows / half
		}
	}
	return batch, accumulation
}

// mendRate goes back to the last committed checkpoint with half the learning rate, and at most twice.
func (l *launch) mendRate(end death, t contract.Training, problem contract.Error) bool {
	scale := cmp.Or(t.LearningRateScale, 1)
	if scale <= 1/float64(int(1)<<rollbacksAllowed) {
		return false
	}
	l.next = remedy{
		adjust: &contract.Adjustment{Code: contract.CodeNonFiniteLoss, Step: end.step, LearningRateScale: scale / 2},
		notes: []string{fmt.Sprintf("The training diverged: %s. It goes back to its last checkpoint and goes on with half the learning rate, %g instead of %g.",
			problem.Message, t.Rate()/2, t.Rate())},
	}
	return true
}

// advise says what a user can change where a policy has come to its end.
func (l *launch) advise(problem contract.Error) contract.Error {
	t := l.training()
	if t == nil {
		return problem
	}
	switch {
	case problem.Code == contract.CodeOutOfMemory && problem.Field != "model" && t.BatchSize == 1:
		problem.Message = "memory is short even with a single row at a time"
		problem.Remedy = "use a smaller max_length or a smaller model"
		if !t.GradientCheckpointing {
			problem.Remedy = "turn gradient_checkpointing on, or use a smaller max_length or a smaller model"
		}
	case problem.Code == contract.CodeNonFiniteLoss && t.LearningRateScale > 0 && t.LearningRateScale < 1:
		problem.Message = fmt.Sprintf("%s, also with a learning rate of %g", problem.Message, t.LearningRate*t.LearningRateScale)
		problem.Remedy = fmt.Sprintf("use a learning_rate well below %g or a longer warm-up, and look for odd rows in the data", t.LearningRate*t.LearningRateScale)
	}
	return problem
}

// notesOf are the lines that the next launch begins the run's log with: what happened, and where it goes on.
func (a *attempt) notesOf(resume *contract.Manifest) []string {
	notes := slices.Clone(a.next.notes)
	for _, name := range slices.Sorted(maps.Keys(a.unusable)) {
		notes = append(notes, fmt.Sprintf("Checkpoint %s is damaged and cannot be used: %s.", name, a.unusable[name]))
	}
	if len(notes) == 0 {
		return nil
	}
	if resume == nil {
		return append(notes, "There is no checkpoint to go on from: the training starts at step 1 again.")
	}
	if len(a.unusable) > 0 {
		return append(notes, fmt.Sprintf("The checkpoint before it is used: exact from step %d again.", resume.Step))
	}
	return append(notes, fmt.Sprintf("It goes on from step %d.", resume.Step))
}

// told forgets what the gateway has taken with a claim.
func (a *attempt) told() {
	a.next = remedy{}
	clear(a.unusable)
}

// upper begins a sentence.
func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

func after(step int) string {
	if step == 0 {
		return "before the first step"
	}
	return fmt.Sprintf("after step %d", step)
}
