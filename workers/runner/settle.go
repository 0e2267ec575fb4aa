package runner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// settle decides what a runner's end means: the run is over (again is false), or it is to be launched anew.
func (l *launch) settle(ctx context.Context, end death) (out contract.RunOutput, again bool, err error) {
	if end.result == nil {
		return l.settleCrash(ctx, end, contract.Error{Code: contract.CodeRunnerCrashed, Message: end.hung})
	}
	result := *end.result
	if result.Outcome == contract.OutcomeFailed && result.Error != nil && unforeseen(*result.Error) {
		return l.settleCrash(ctx, end, *result.Error)
	}
	if result.Outcome == contract.OutcomeFailed && result.Error != nil && l.mend(end, *result.Error) {
		l.log.Warn("the runner failed, and goes on otherwise", "error", result.Error.Message, "detail", result.Error.Detail)
		return out, true, nil
	}
	if result.Outcome == contract.OutcomeSuperseded {
		return out, false, contract.Errorf(contract.CodeEpochSuperseded, "a newer launch owns this run")
	}
	if result.Outcome == contract.OutcomeCompleted {
		if err := l.sendArtifacts(ctx, result.Artifacts); err != nil {
			return out, false, l.abandon(ctx, err)
		}
	}
	if err := l.handIn(ctx, result); err != nil {
		return out, false, l.abandon(ctx, err)
	}
	l.log.Info("runner ended", "outcome", result.Outcome, "step", result.Step)
	switch result.Outcome {
	case contract.OutcomeCompleted:
		l.wipe()
		return l.outputOf(result), false, nil
	case contract.OutcomeFailed:
		return out, false, l.failureOf(result)
	default:
		return l.settleSaved(ctx, end)
	}
}

// unforeseen tells a failure that nobody typed from one that has a policy of its own. A checkpoint that was whole when the
// runner was launched, and is not any more, is looked at again before the next launch.
func unforeseen(problem contract.Error) bool {
	switch problem.Code {
	case contract.CodeInternal, contract.CodeRunnerCrashed, "":
		return true
	case contract.CodeBadData:
		return problem.Field == "resume_from"
	default:
		return false
	}
}

// settleSaved is for a runner that saved and left. If nobody here asked it to (its lease had lapsed while the machine
// slept, or somebody sent it a signal by hand) the run goes on.
func (l *launch) settleSaved(ctx context.Context, end death) (contract.RunOutput, bool, error) {
	if !l.pausing() {
		if end.result.Outcome == contract.OutcomeOrphaned {
			return contract.RunOutput{}, true, nil
		}
		return l.settleCrash(ctx, end, contract.Error{Code: contract.CodeRunnerCrashed, Message: "the runner was told to stop by somebody else"})
	}
	return l.paused(end), false, nil
}

func (l *launch) paused(end death) contract.RunOutput {
	out := pausedAt(l.committed)
	out.TotalSteps = end.total
	return out
}

// settleCrash is for a runner that is gone without having said why, or with an error that nobody foresaw. The run goes
// on from its newest checkpoint, unless it has died here again and again without getting further.
func (l *launch) settleCrash(ctx context.Context, end death, problem contract.Error) (contract.RunOutput, bool, error) {
	if l.pausing() {
		// It was killed while it saved, or before it could listen. The last checkpoint stands.
		l.log.Warn("the runner was gone before it could save", "error", problem.Message)
		return l.paused(end), false, nil
	}
	cause := l.explain(problem)
	if cause.Code == contract.CodeOutOfMemory && l.mend(end, cause) {
		l.log.Warn("the system killed the runner for want of memory, it goes on with a smaller micro-batch")
		return contract.RunOutput{}, true, nil
	}
	if !l.witnessed {
		l.log.Warn("the runner died while no worker looked, it is started again")
		return contract.RunOutput{}, true, nil
	}
	count, err := l.countDeath(end.step)
	if err != nil {
		return contract.RunOutput{}, false, err
	}
	l.log.Warn("the runner died", "deaths_in_a_row", count, "step", end.step, "error", cause.Message, "detail", cause.Detail)
	if count < patienceWith(end, cause) {
		l.rest(ctx, count)
		return contract.RunOutput{}, true, nil
	}
	if cause.Code != contract.CodeOutOfMemory {
		cause.Message = fmt.Sprintf("the runner died %d times in a row without getting further: %s", count, cause.Message)
		cause.Code = contract.CodeNoProgress
	}
	cause = l.advise(cause)
	return contract.RunOutput{}, false, errors.Join(&cause, l.forgetDeaths())
}

// patienceWith is how many such deaths in a row a run survives. One that was ended from outside, without a word in stderr,
// may be somebody's doing and no fault of its own.
func patienceWith(end death, cause contract.Error) int {
	outside := end.hung == "" && (end.result == nil || end.result.Outcome == contract.OutcomePaused)
	if outside && cause.Code == contract.CodeRunnerCrashed && lastLineOfTraceback(cause.Detail) == "" {
		return killsAllowed
	}
	return deathsAllowed
}

// rest lets what kills runners pass by: the first death costs no time, each further one in a row more. A pause ends it.
func (l *launch) rest(ctx context.Context, deaths int) {
	if deaths < 2 {
		return
	}
	timer := time.NewTimer(min(l.s.RelaunchPause<<(deaths-2), longestRelaunchPause))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.request.Pause:
	case <-ctx.Done():
	}
}

// explain finds the reason of a crash in what the system and the end of stderr tell.
func (l *launch) explain(problem contract.Error) contract.Error {
	tail := StderrTail(l.dir.path(stderrFile))
	if problem.Detail == "" {
		problem.Detail = tail
	}
	if after := oomKills(); l.oomBefore >= 0 && after > l.oomBefore && problem.Code == contract.CodeRunnerCrashed {
		problem.Code = contract.CodeOutOfMemory
		problem.Message = "the system killed a process for want of memory, and the runner is gone"
		problem.Remedy = "use a smaller batch_size, a smaller max_length or a smaller model"
		return problem
	}
	if problem.Message == "" {
		problem.Message = "the runner was killed or crashed"
		if last := lastLineOfTraceback(tail); last != "" {
			problem.Message = "the runner crashed: " + last
		}
	}
	return problem
}

// failureOf is a typed failure, with the end of stderr for operators.
func (l *launch) failureOf(result contract.RunResult) error {
	if result.Error == nil {
		return contract.Errorf(contract.CodeNoProgress, "the runner failed and did not say why")
	}
	problem := l.advise(*result.Error)
	if problem.Code == contract.CodeDiskFull {
		l.keepNeed(l.s.MinFree + lacking(checkpointsOf(l.committed), l.folder.Checkpoints()))
	}
	if problem.Detail == "" {
		problem.Detail = StderrTail(l.dir.path(stderrFile))
	}
	return &problem
}

// sendArtifacts uploads what the run made, each folder with its manifest.
func (l *launch) sendArtifacts(ctx context.Context, artifacts []contract.Manifest) error {
	for _, artifact := range artifacts {
		if !validArtifactName(artifact.Name) {
			return contract.Errorf(contract.CodeInternal, "the runner names an artifact %q", artifact.Name)
		}
		for _, file := range artifact.Files {
			if err := checkFile(file); err != nil {
				return err
			}
			path := filepath.Join(l.folder.Out(), artifact.Name, filepath.FromSlash(file.Path))
			if err := gatewayclient.Upload(ctx, l.log, l.gate, path, file); err != nil {
				return fmt.Errorf("artifact %s: %w", artifact.Name, err)
			}
		}
		err := l.patiently(ctx, "hand in artifact", func(ctx context.Context) error { return l.gate.PutArtifact(ctx, artifact) })
		if err != nil {
			return fmt.Errorf("artifact %s: %w", artifact.Name, err)
		}
	}
	return nil
}

func (l *launch) handIn(ctx context.Context, result contract.RunResult) error {
	return l.patiently(ctx, "hand in result", func(ctx context.Context) error { return l.gate.PutResult(ctx, result) })
}

// abandon ends a launch that the gateway no longer takes: a runner of an older epoch must not go on. One whose gateway has
// no room saves and leaves, for the run pauses and gives its slot back. After any other error the runner is left alone,
// for the next attempt to take over.
func (l *launch) abandon(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	code := contract.CodeOf(err)
	if code == contract.CodeDiskFull {
		return errors.Join(err, l.dismiss(ctx))
	}
	if code != contract.CodeEpochSuperseded && code != contract.CodeNotFound {
		return err
	}
	l.log.Warn("this launch is no longer wanted, its runner is killed", "error", err)
	if killErr := l.process.killAndWait(killPatience); killErr != nil {
		return errors.Join(err, killErr)
	}
	return err
}

// dismiss has the runner save and leave. What it leaves behind the next attempt ships.
func (l *launch) dismiss(ctx context.Context) error {
	l.log.Warn("there is no room for what the runner tells: it saves and leaves")
	l.process.Terminate()
	grace, cancel := context.WithTimeout(ctx, l.s.PauseGrace)
	defer cancel()
	if l.process.awaitExit(grace.Done()) || ctx.Err() != nil {
		return nil
	}
	return l.process.killAndWait(killPatience)
}

// deaths is crashes.json: how often a run has died here without getting further.
type deaths struct {
	Count      int `json:"count"`
	Step       int `json:"step"`
	Checkpoint int `json:"checkpoint"`
}

const deathsFile = "crashes.json"

// countDeath notes a death and returns how many there were since the run last got further.
func (l *launch) countDeath(step int) (int, error) {
	path := filepath.Join(string(l.folder), deathsFile)
	var record deaths
	if err := readJSON(path, &record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("the record of deaths is unreadable and starts anew", "error", err)
	}
	checkpoint := 0
	if l.committed != nil {
		checkpoint = l.committed.Step
	}
	if step > record.Step || checkpoint > record.Checkpoint {
		record.Count = 0
	}
	record.Count++
	record.Step, record.Checkpoint = max(record.Step, step), max(record.Checkpoint, checkpoint)
	return record.Count, writeJSON(path, record)
}

// forgetDeaths gives a run that a user starts again the same patience as before.
func (l *launch) forgetDeaths() error {
	err := os.Remove(filepath.Join(string(l.folder), deathsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
