package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// priorityFlag is --priority; the server refuses what is none.
func priorityFlag(f *pflag.FlagSet, to *apigen.Priority) {
	f.StringVar((*string)(to), "priority", "", "low, normal or high: which of the project's own runs goes first")
}

// jobsPrioritize changes the priority of a job that has not ended.
func (a *app) jobsPrioritize() *cobra.Command {
	return &cobra.Command{
		Use: "prioritize ID low|normal|high", Short: "Let a job go before or after the project's others",
		Long: "Projects take turns, whatever their priorities: one changes the order of a project's own jobs.",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			priority := apigen.Priority(args[1])
			job, err := apiclient.Patch[apigen.Job](cmd.Context(), c, "/api/training/"+url.PathEscape(args[0]), apigen.Edit{Priority: &priority})
			if err != nil {
				return err
			}
			return a.print(job, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s %s%s\n", job.ID, job.Status, inLine(job, time.Now())) })
		},
	}
}

// inLine says where a job that waits stands, and when it should begin: " (number 3 in line, starts in 5–12 min)".
func inLine(j apigen.Job, now time.Time) string {
	if j.QueuePosition == 0 {
		return ""
	}
	return fmt.Sprintf(" (number %d in line, %s)", j.QueuePosition, startText(j.ExpectedStart, now))
}

// startText is honest about what nobody knows.
func startText(e apigen.ExpectedStart, now time.Time) string {
	low, high := e.Earliest.Sub(now), e.Latest.Sub(now)
	switch {
	case e.Latest.IsZero():
		return "start unknown"
	case high < time.Minute:
		return "starts at any moment"
	default:
		return "starts in " + about(max(low, 0), high)
	}
}

// about is a range of time in the largest unit that tells its ends apart.
func about(low, high time.Duration) string {
	unit, name := time.Minute, "min"
	switch {
	case high >= 48*time.Hour:
		unit, name = 24*time.Hour, "days"
	case high >= 2*time.Hour:
		unit, name = time.Hour, "h"
	}
	from, to := int(low/unit), int((high+unit-1)/unit)
	if from == to {
		return fmt.Sprintf("about %d %s", to, name)
	}
	return fmt.Sprintf("%d–%d %s", from, to, name)
}

// placeEvery is how often the place in line is asked for: it changes by what others do, which no event of the job tells.
const placeEvery = 5 * time.Second

// keepPlace shows a waiting job's place until stop, which waits for it to end.
func (v *trainingView) keepPlace(ctx context.Context, c *apiclient.Client, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() {
		every := time.NewTicker(placeEvery)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
			}
			if job, err := apiclient.Get[apigen.Job](ctx, c, "/api/training/"+url.PathEscape(id), nil); err == nil {
				v.place(job)
			}
		}
	})
	return func() { cancel(); asking.Wait() }
}

func (v *trainingView) place(job apigen.Job) {
	if job.QueuePosition == 0 {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bar.update("waiting for a slot", v.step, v.total, fmt.Sprintf("number %d in line, %s", job.QueuePosition, startText(job.ExpectedStart, time.Now())))
}
