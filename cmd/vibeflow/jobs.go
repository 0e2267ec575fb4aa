package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) jobsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "jobs", Short: "Start, watch and steer training jobs"}
	cmd.AddCommand(removeCommand(a, "job id", "/api/training/"), editCommand(a, "job id", "/api/training/", printJob), a.jobsPrioritize(), a.jobsRerun(), a.jobsCompare(), a.jobsStart(), a.jobsList(), getCommand(a, "job id", "/api/training/", printJob), a.jobsWatch(), a.jobsLogs(),
		a.jobCommand("pause", "Save and leave the slot", contract.StatusPaused),
		a.jobCommand("resume", "Go on from the checkpoint", contract.StatusRunning), a.jobsCancel())
	return cmd
}

func (a *app) jobsStart() *cobra.Command {
	var request apigen.StartTraining
	var config string
	var watch bool
	cmd := &cobra.Command{
		Use: "start --dataset ID", Short: "Start a training job", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.startJob(cmd.Context(), request, config, watch)
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.DatasetID, "dataset", "", "dataset id")
	f.StringVar(&request.ModelID, "model", "", "base model (default: the bundled one)")
	f.StringVar(&request.Name, "name", "", "name")
	f.StringVar(&request.Queue, "queue", "", "queue of a class of machines (default: the best connected)")
	f.StringVar(&config, "config", "", `configuration as JSON, e.g. '{"max_steps":20}'; what is absent is the recommender's`)
	priorityFlag(f, &request.Priority)
	f.BoolVar(&watch, "watch", false, "stay until it ends")
	_ = cmd.MarkFlagRequired("dataset")
	return cmd
}

// startJob starts a job with the configuration that is given as JSON, shows it, and stays until its end if watch.
func (a *app) startJob(ctx context.Context, request apigen.StartTraining, config string, watch bool) error {
	overrides, err := parseOverrides(config)
	if err != nil {
		return err
	}
	request.Config = overrides
	c, err := a.client()
	if err != nil {
		return err
	}
	job, err := apiclient.Start[apigen.Job](ctx, c, "/api/training/start", request)
	if err == nil && watch {
		job, err = a.watchJob(ctx, c, job.ID)
	}
	if err != nil {
		return err
	}
	return a.print(job, func(w io.Writer) { printJob(w, job) })
}

// jobsRerun starts a job like another one.
func (a *app) jobsRerun() *cobra.Command {
	var request apigen.StartTraining
	var config string
	var watch bool
	cmd := &cobra.Command{
		Use: "rerun ID", Short: "Start a job like another one, with changes", Args: oneArg("job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			request.FromJob = args[0]
			return a.startJob(cmd.Context(), request, config, watch)
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.DatasetID, "dataset", "", "another dataset")
	f.StringVar(&request.ModelID, "model", "", "another base model")
	f.StringVar(&request.Name, "name", "", "another name")
	f.StringVar(&request.Queue, "queue", "", "queue of a class of machines (default: the best connected)")
	f.StringVar(&config, "config", "", `changes of the configuration as JSON, e.g. '{"learning_rate":0.0001}'`)
	priorityFlag(f, &request.Priority)
	f.BoolVar(&watch, "watch", false, "stay until it ends")
	return cmd
}

func parseOverrides(config string) (apigen.TrainingOverrides, error) {
	if config == "" {
		return nil, nil
	}
	var overrides apigen.TrainingOverrides
	if err := json.Unmarshal([]byte(config), &overrides); err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "--config is not a JSON object: %w", err).On("config").
			Mend(`write it in single quotes, for example --config '{"epochs":1,"max_length":256}'`)
	}
	return overrides, nil
}

func (a *app) jobsList() *cobra.Command {
	return listCommand(a, "List training jobs", "/api/training", func(w io.Writer, page apigen.JobPage) {
		t := table(w)
		row(t, "ID", "NAME", "STATUS", "STEP", "LOSS", "CREATED")
		for _, j := range page.Items {
			row(t, j.ID, j.Name, string(j.Status)+inLine(j, time.Now()), stepText(j), lossText(j), j.CreatedAt.Local().Format("2006-01-02 15:04"))
		}
		_ = t.Flush()
	}, bySearch, byTag, byStatus, byDataset, byModel, bySort)
}

// stepText and lossText are empty for a job that has not trained a step.
func stepText(j apigen.Job) string {
	if j.TotalSteps == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", j.Step, j.TotalSteps)
}

func lossText(j apigen.Job) string {
	if j.Loss == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f", j.Loss)
}

func printJob(w io.Writer, j apigen.Job) {
	t := table(w)
	known := knownIn(t)
	row(t, "id", j.ID)
	row(t, "name", j.Name)
	row(t, "status", string(j.Status)+inLine(j, time.Now()))
	known(j.Priority != apigen.PriorityNormal, "priority", string(j.Priority))
	row(t, "dataset / base", j.DatasetID+" / "+j.ModelID)
	known(j.TotalSteps > 0, "step", fmt.Sprintf("%d of %d", j.Step, j.TotalSteps))
	known(j.Progress.Phase != "", "at work on", fmt.Sprintf("%s, row %d of %d", phaseText(j.Progress.Phase), j.Progress.Done, j.Progress.Total))
	known(j.EtaSeconds > 0, "time", left{&j.EtaSeconds, j.EtaLowSeconds, j.EtaHighSeconds}.String())
	known(j.Loss != 0, "loss", fmt.Sprintf("%.4f", j.Loss))
	known(j.EvalLoss != 0, "held-out loss", fmt.Sprintf("%.4f", j.EvalLoss))
	known(j.Device != "", "machine", j.Device+" "+j.Precision)
	known(j.TokensPerSecond > 0, "speed", fmt.Sprintf("%.0f tokens/s", j.TokensPerSecond))
	known(j.Checkpoint != "", "checkpoint", j.Checkpoint)
	known(j.TunedModelID != "", "tuned model", j.TunedModelID)
	for _, setback := range j.Setbacks {
		row(t, "setback", setback.At.Local().Format("2006-01-02 15:04")+"  "+setback.Text)
	}
	labels(known, j.Notes, j.Tags)
	known(j.Error.Code != "", "error", j.Error.Error())
	_ = t.Flush()
}

func (a *app) jobsWatch() *cobra.Command {
	return idCommand(a, "watch", "Follow a job to its end", "job id", a.watchJob, printJob)
}

// watchJob shows a job's steps until it ends; a failed job is an errRunFailed.
func (a *app) watchJob(ctx context.Context, c *apiclient.Client, id string) (apigen.Job, error) {
	bar := a.line()
	show := trainingView{app: a, bar: bar}
	stop := show.keepPlace(ctx, c, id)
	err := c.Follow(ctx, "/api/training/"+url.PathEscape(id)+"/events", 0, show.event, a.reconnecting)
	stop()
	if err != nil {
		return apigen.Job{}, err
	}
	job, err := apiclient.Get[apigen.Job](ctx, c, "/api/training/"+url.PathEscape(id), nil)
	if err != nil {
		return job, err
	}
	if contract.Status(job.Status) == contract.StatusFailed {
		return job, errRunFailed{&job.Error}
	}
	mark := "✓"
	if contract.Status(job.Status) == contract.StatusCancelled {
		mark = "–"
	}
	bar.end(mark, "train", fmt.Sprintf("%s at step %d, loss %.3f, %.0f tokens/s", job.Status, job.Step, job.Loss, job.TokensPerSecond))
	return job, nil
}

// trainingView turns a job's events into one line of progress.
type trainingView struct {
	app   *app
	bar   *line
	total float64
	step  float64
	begun bool // this launch has trained a step

	mu sync.Mutex // of all, while the place in line is shown beside the events
}

func (v *trainingView) event(e contract.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e.Type {
	case contract.RunnerStarted:
		var started struct {
			TotalSteps float64 `json:"total_steps"`
		}
		if err := json.Unmarshal(e.Payload, &started); err == nil && started.TotalSteps > 0 {
			v.total = started.TotalSteps
		}
	case contract.RunnerLog:
		v.log(e)
	case contract.RunnerResumed:
		var resumed struct{ Step float64 }
		if err := json.Unmarshal(e.Payload, &resumed); err == nil {
			v.step = resumed.Step
			v.bar.update(fmt.Sprintf("resumed from step %.0f", v.step), v.step, v.total, "")
		}
	case contract.RunnerMetrics:
		var m struct {
			left
			Step, Loss      float64
			TokensPerSecond float64 `json:"tokens_per_second"`
		}
		if err := json.Unmarshal(e.Payload, &m); err != nil {
			return nil // one unreadable point must not end the watch
		}
		v.step, v.begun = m.Step, true
		v.bar.update("training", m.Step, v.total, fmt.Sprintf("step %.0f/%.0f  loss %.3f  %.0f tok/s  %s", m.Step, v.total, m.Loss, m.TokensPerSecond, m.left))
	case contract.RunnerProgress:
		var p struct {
			left
			Phase       string
			Done, Total float64
		}
		if err := json.Unmarshal(e.Payload, &p); err == nil {
			v.bar.update(phaseText(p.Phase), p.Done, p.Total, fmt.Sprintf("row %.0f/%.0f  %s", p.Done, p.Total, p.left))
		}
	case contract.EventType(contract.KindJob, contract.EventPaused):
		v.paused(e)
	default:
		if e.Type == contract.EventType(contract.KindJob, contract.EventStarted) {
			v.begun = false
		}
		if text := stateText[e.Type]; text != "" {
			v.bar.update(text, v.step, v.total, "")
		}
	}
	return nil
}

// paused says why a job paused by itself: it waits for somebody to mend the cause.
func (v *trainingView) paused(e contract.Event) {
	var p contract.Paused
	if json.Unmarshal(e.Payload, &p) == nil && p.Error != nil {
		_, id, _ := contract.SplitStream(e.Stream)
		remark := "paused: " + p.Error.Error()
		if !p.GoesOn {
			remark += "; then: " + v.app.hint("jobs resume %s", id)
		}
		v.bar.remark(remark)
	}
	v.bar.update("paused", v.step, v.total, "")
}

// log shows a warning beside the line and, until the first step, what the runner is at.
func (v *trainingView) log(e contract.Event) {
	var l struct{ Level, Message string }
	if json.Unmarshal(e.Payload, &l) != nil {
		return
	}
	switch {
	case l.Level == "warn":
		v.bar.remark(l.Message)
	case l.Level == "info" && !v.begun:
		sentence, _, _ := strings.Cut(l.Message, ". ")
		v.bar.update("preparing", 0, 0, strings.TrimSuffix(sentence, "."))
	}
}

var stateText = map[string]string{
	contract.EventType(contract.KindJob, contract.EventQueued):          "waiting for a slot",
	contract.EventType(contract.KindJob, contract.EventStarted):         "starting the runner",
	contract.EventType(contract.KindJob, contract.EventPauseRequested):  "pausing",
	contract.EventType(contract.KindJob, contract.EventResumeRequested): "resuming",
	contract.EventType(contract.KindJob, contract.EventRewound):         "going on from the last checkpoint",
}

func (a *app) jobsLogs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Print a job's log", Args: oneArg("job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if follow {
				return a.followLogs(cmd.Context(), c, args[0])
			}
			return a.printLogs(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "stay and print what comes")
	return cmd
}

func (a *app) printLogs(ctx context.Context, c *apiclient.Client, id string) error {
	lines := 0
	for after := int64(0); ; {
		query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {"200"}}
		logs, err := apiclient.Get[apigen.Logs](ctx, c, "/api/training/"+url.PathEscape(id)+"/logs", query)
		if err != nil {
			return err
		}
		for _, l := range logs.Lines {
			if err := a.printLog(l); err != nil {
				return err
			}
		}
		if len(logs.Lines) == 0 {
			break
		}
		after, lines = logs.NextAfter, lines+len(logs.Lines)
	}
	if lines == 0 {
		a.note("  nothing yet: the runner has not said a word; `%s` says where the job stands", a.hint("jobs get %s", id))
	}
	return nil
}

func (a *app) printLog(l apigen.LogLine) error {
	if a.json {
		return json.NewEncoder(a.out).Encode(l)
	}
	_, err := fmt.Fprintf(a.out, "%s %-5s %s\n", l.At.Local().Format("2006-01-02 15:04:05"), l.Level, l.Message)
	return err
}

func (a *app) followLogs(ctx context.Context, c *apiclient.Client, id string) error {
	return c.Follow(ctx, "/api/training/"+url.PathEscape(id)+"/events", 0, func(e contract.Event) error {
		if e.Type != contract.RunnerLog {
			return nil
		}
		var l struct{ Level, Message string }
		if err := json.Unmarshal(e.Payload, &l); err != nil {
			return nil // not a line for people
		}
		return a.printLog(apigen.LogLine{Seq: e.Seq, At: e.At, Level: l.Level, Message: l.Message})
	}, a.reconnecting)
}

// jobCommand posts a command and, with --wait, stays until the job is in the state that it leads to.
func (a *app) jobCommand(verb, short string, leadsTo contract.Status) *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Args: oneArg("job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.steer(cmd.Context(), args[0], verb, nil, wait, leadsTo)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "stay until it has happened")
	return cmd
}

func (a *app) jobsCancel() *cobra.Command {
	var wait, keep bool
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel a job, or stop and keep what it learned", Args: oneArg("job id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			leadsTo := contract.StatusCancelled
			if keep {
				leadsTo = contract.StatusStopped
			}
			return a.steer(cmd.Context(), args[0], "cancel", apigen.CancelTraining{Keep: keep}, wait, leadsTo)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "stay until it has happened")
	cmd.Flags().BoolVar(&keep, "keep", false, "register a model from the last checkpoint")
	return cmd
}

func (a *app) steer(ctx context.Context, id, verb string, body any, wait bool, leadsTo contract.Status) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	path := "/api/training/" + url.PathEscape(id)
	job, err := apiclient.Post[apigen.Job](ctx, c, path+"/"+verb, body)
	if wait && contract.CodeOf(err) == contract.CodeConflict {
		job, err = asked(ctx, c, path, leadsTo, err)
	}
	if err != nil {
		return err
	}
	if wait {
		if job, err = a.awaitStatus(ctx, c, path, job.LastSeq, leadsTo); err != nil {
			return err
		}
		if job.Error.Code != "" && contract.Status(job.Status) != leadsTo {
			return errRunFailed{&job.Error}
		}
	}
	return a.print(job, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s %s\n", job.ID, job.Status) })
}

// onTheWay is the status of a job that has been asked for what leads to another, and has not got there.
var onTheWay = map[contract.Status]contract.Status{
	contract.StatusPaused: contract.StatusPausing, contract.StatusRunning: contract.StatusResuming,
	contract.StatusCancelled: contract.StatusCancelling, contract.StatusStopped: contract.StatusStopping,
}

// asked is the job if it is, or will be, what the refused command leads to: whoever waits for that has nothing more to ask.
func asked(ctx context.Context, c *apiclient.Client, path string, leadsTo contract.Status, refused error) (apigen.Job, error) {
	job, err := apiclient.Get[apigen.Job](ctx, c, path, nil)
	if now := contract.Status(job.Status); err == nil && now != leadsTo && now != onTheWay[leadsTo] {
		return job, refused
	}
	return job, err
}

func (a *app) awaitStatus(ctx context.Context, c *apiclient.Client, path string, after int64, want contract.Status) (apigen.Job, error) {
	job, err := apiclient.Get[apigen.Job](ctx, c, path, nil)
	reached := func() bool {
		s := contract.Status(job.Status)
		return s == want || s.Final() || (s == contract.StatusPaused && job.Error.Code != "") // paused by itself: it waits for the user
	}
	if err != nil || reached() {
		return job, err
	}
	err = c.Follow(ctx, path+"/events", after, func(contract.Event) error {
		if job, err = apiclient.Get[apigen.Job](ctx, c, path, nil); err != nil {
			return err
		}
		if reached() {
			return apiclient.ErrStop
		}
		return nil
	}, a.reconnecting)
	return job, err
}
