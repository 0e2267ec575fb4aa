package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) jobsCompare() *cobra.Command {
	return &cobra.Command{
		Use: "compare ID ID [ID …]", Short: "Show jobs side by side: what came of them, and what differs in what they were told",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return contract.Errorf(contract.CodeInvalid, "give at least two job ids").Mend("usage: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			both, err := apiclient.Get[apigen.JobComparison](cmd.Context(), c, "/api/training/compare", url.Values{"id": args})
			if err != nil {
				return err
			}
			return a.print(both, func(w io.Writer) { printComparison(w, both) })
		},
	}
}

// printComparison shows a column a run; a line that is empty for all is left out.
func printComparison(w io.Writer, c apigen.JobComparison) {
	t := table(w)
	line := func(name string, of func(apigen.ComparedJob) string) {
		cells, told := []any{name}, false
		for _, run := range c.Runs {
			text := of(run)
			cells, told = append(cells, text), told || text != ""
		}
		if told {
			row(t, cells...)
		}
	}
	line("", func(j apigen.ComparedJob) string { return j.ID })
	line("name", func(j apigen.ComparedJob) string { return j.Name })
	line("status", func(j apigen.ComparedJob) string { return string(j.Status) })
	line("dataset", func(j apigen.ComparedJob) string { return fmt.Sprintf("%s (%d rows)", j.DatasetName, j.TrainRows) })
	line("model", func(j apigen.ComparedJob) string { return j.ModelName })
	line("step", func(j apigen.ComparedJob) string { return fmt.Sprintf("%d/%d", j.Step, j.TotalSteps) })
	line("loss", func(j apigen.ComparedJob) string { return decimals(j.FinalLoss, 3) })
	line("held-out loss", func(j apigen.ComparedJob) string { return decimals(j.EvalLoss, 3) })
	line("best held-out loss", func(j apigen.ComparedJob) string { return decimals(j.BestEvalLoss, 3) })
	line("tuned − base", evaluationText)
	line("tokens/s", func(j apigen.ComparedJob) string { return decimals(j.TokensPerSecond, 0) })
	line("training", func(j apigen.ComparedJob) string { return secondsText(j.TrainingSeconds) })
	line("start to end", func(j apigen.ComparedJob) string { return secondsText(j.DurationSeconds) })
	line("launches", func(j apigen.ComparedJob) string { return strconv.FormatInt(j.Launches, 10) })
	line("device", func(j apigen.ComparedJob) string { return j.Device })
	for _, d := range c.Differences {
		cells := []any{d.Field}
		for _, value := range d.Values {
			cells = append(cells, fmt.Sprint(value))
		}
		row(t, cells...)
	}
	_ = t.Flush()
	_, _ = fmt.Fprintf(w, "%d settings differ, %d are the same\n", len(c.Differences), len(c.Same))
}

func evaluationText(j apigen.ComparedJob) string {
	if e := j.Evaluation; e.ID != "" {
		return fmt.Sprintf("%.3f [%.3f, %.3f] %s", e.LossDelta, e.LossDeltaCi[0], e.LossDeltaCi[1], e.Verdict)
	}
	return ""
}

// decimals is empty for what is not known.
func decimals(v float64, places int) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', places, 64)
}

func secondsText(seconds float64) string {
	if seconds == 0 {
		return ""
	}
	return (time.Duration(seconds * float64(time.Second))).Round(100 * time.Millisecond).String()
}
