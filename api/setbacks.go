package api

import (
	"encoding/json"
	"fmt"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
)

// setbackDamaged is the code of a setback that no failure of a runner has caused.
const setbackDamaged = "checkpoint_damaged"

// setbacks tells what failures have changed in a job that was told config, oldest first.
func (s *Server) setbacks(ctx ctx, jobID string, config contract.Training) ([]apigen.Setback, error) {
	events, err := s.Store.Setbacks(ctx, jobID)
	if err != nil {
		return nil, err
	}
	var all []apigen.Setback
	for _, e := range events {
		told := lostText
		if e.Type == contract.EventType(contract.KindJob, contract.EventAdjusted) {
			told = adjustedText
		}
		setback, err := told(&config, e.Payload)
		if err != nil {
			return nil, fmt.Errorf("event %d of %s: %w", e.Seq, e.Stream, err)
		}
		if setback.Text == "" {
			continue
		}
		setback.At = e.At
		all = append(all, setback)
	}
	return all, nil
}

// adjustedText says what an adjustment has changed of a configuration, which holds it from then on; nothing of one that was
// told again.
func adjustedText(config *contract.Training, payload json.RawMessage) (apigen.Setback, error) {
	var a contract.Adjustment
	if err := json.Unmarshal(payload, &a); err != nil {
		return apigen.Setback{}, err
	}
	before := *config
	config.Adjust(&a)
	if config.BatchSize == before.BatchSize && config.Rate() == before.Rate() {
		return apigen.Setback{}, nil
	}
	setback := apigen.Setback{Code: apigen.SetbackCode(a.Code), Step: a.Step}
	if a.Code == contract.CodeNonFiniteLoss {
		setback.Text = fmt.Sprintf("The loss was not finite %s. It went back to its last checkpoint and went on with half the learning rate: %g instead of %g.",
			after(a.Step), config.Rate(), before.Rate())
		return setback, nil
	}
	setback.Text = fmt.Sprintf("Memory was short %s. It went on with %s at a time instead of %d, %d times a step instead of %d: the same %d rows a step.",
		after(a.Step), rows(config.BatchSize), before.BatchSize, config.GradientAccumulationSteps, before.GradientAccumulationSteps,
		config.BatchSize*config.GradientAccumulationSteps)
	return setback, nil
}

func lostText(_ *contract.Training, payload json.RawMessage) (apigen.Setback, error) {
	var lost contract.CheckpointLost
	if err := json.Unmarshal(payload, &lost); err != nil {
		return apigen.Setback{}, err
	}
	text := fmt.Sprintf("The checkpoint of step %d was damaged and is left out. ", lost.Step)
	if lost.Left == "" {
		text += "There was none before it: the training began at step 1 again."
	} else {
		text += fmt.Sprintf("It went on from the one before, exactly from step %d.", lost.LeftStep)
	}
	return apigen.Setback{Code: setbackDamaged, Step: lost.Step, Text: text}, nil
}

func rows(n int) string {
	if n == 1 {
		return "1 row"
	}
	return fmt.Sprintf("%d rows", n)
}

func after(step int) string {
	if step == 0 {
		return "before the first step"
	}
	return fmt.Sprintf("after step %d", step)
}
