package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) runCommand() *cobra.Command {
	var request apigen.StartPipeline
	var config string
	var mapping map[string]string
	cmd := &cobra.Command{
		Use: "run FILE|DATASET", Short: "The whole pipeline on a file of your own: read, recommend, train, evaluate, deploy", Args: oneArg("file or dataset id"),
		Long: `Uploads a file (JSON, JSON Lines, CSV, Parquet or plain text) and does the rest: reads it, chooses a configuration, trains, compares the
tuned model with its base, and serves it. Needs a running server: vibeflow up. What you start goes on if you leave.`,
		Example: `  vibeflow run questions.jsonl
  vibeflow run tickets.csv --map 'prompt=Question,completion=Answer'
  vibeflow run questions.jsonl --config '{"epochs":1,"max_length":256}' --model qwen3-0.6b`,
		RunE: func(cmd *cobra.Command, args []string) error {
			overrides, err := parseOverrides(config)
			if err != nil {
				return err
			}
			request.Config = overrides
			if !namesDataset(args[0]) {
				if err := checkFile(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := checkTraining(cmd.Context(), c, request.ModelID, request.Config); err != nil {
				return err
			}
			ds, err := a.dataset(cmd.Context(), c, args[0], request.Name, mapping)
			if err != nil {
				return err
			}
			request.DatasetID, request.AutoConfirm = ds.ID, true
			pipeline, err := a.runPipeline(cmd.Context(), c, request)
			if err != nil {
				return err
			}
			return a.print(pipeline, func(w io.Writer) { a.printPipeline(w, pipeline) })
		},
	}
	f := cmd.Flags()
	mappingFlag(f, &mapping)
	f.StringVar(&request.ModelID, "model", "", "base model (default: the bundled one)")
	f.StringVar(&request.Name, "name", "", "name")
	f.StringVar(&request.Goal, "goal", "", "what the model is for; recorded, and not acted on yet")
	f.StringVar(&config, "config", "", `training configuration as JSON; what is absent is the recommender's`)
	priorityFlag(f, &request.Priority)
	f.BoolVar(&request.SkipEvaluate, "skip-evaluate", false, "do not evaluate")
	f.BoolVar(&request.SkipDeploy, "skip-deploy", false, "do not deploy")
	return cmd
}

// dataset is what becomes of an uploaded file, or the one that was named, processed again if its mapping is another.
func (a *app) dataset(ctx context.Context, c *apiclient.Client, fileOrID, name string, mapping map[string]string) (apigen.Dataset, error) {
	options := map[string]any{}
	if len(mapping) > 0 {
		options["mapping"] = mapping
	}
	if !namesDataset(fileOrID) {
		return a.ingest(ctx, c, fileOrID, apiclient.Upload{Name: name, Options: options})
	}
	ds, err := apiclient.Get[apigen.Dataset](ctx, c, "/api/datasets/"+url.PathEscape(fileOrID), nil)
	if err != nil || len(mapping) == 0 || maps.Equal(mapping, ds.Options.Mapping) {
		return ds, err
	}
	return a.process(ctx, c, ds.ID, options)
}

// namesDataset tells the id of a dataset from a file's name.
func namesDataset(fileOrID string) bool {
	_, err := os.Stat(fileOrID)
	return err != nil && strings.HasPrefix(fileOrID, contract.PrefixDataset)
}

// checkTraining has the server refuse an impossible model or configuration before a file is sent.
func checkTraining(ctx context.Context, c *apiclient.Client, modelID string, config apigen.TrainingOverrides) error {
	_, err := apiclient.Post[struct{}](ctx, c, "/api/training/check", apigen.CheckTraining{ModelID: modelID, Config: config})
	return err
}

// runPipeline starts a pipeline and shows its stages until it has ended.
func (a *app) runPipeline(ctx context.Context, c *apiclient.Client, request apigen.StartPipeline) (apigen.Pipeline, error) {
	pipeline, err := apiclient.Start[apigen.Pipeline](ctx, c, "/api/pipelines", request)
	if err != nil {
		return pipeline, err
	}
	a.note("  %s (if you leave: %s)", pipeline.ID, a.hint("pipelines watch %s", pipeline.ID))
	return a.watchPipeline(ctx, c, pipeline.ID)
}

func (a *app) watchPipeline(ctx context.Context, c *apiclient.Client, id string) (apigen.Pipeline, error) {
	path := "/api/pipelines/" + url.PathEscape(id)
	view := &pipelineView{app: a, client: c, ctx: ctx, bars: map[string]*line{}}
	if err := c.Follow(ctx, path+"/events", 0, view.event, a.reconnecting); err != nil {
		return apigen.Pipeline{}, err
	}
	pipeline, err := apiclient.Get[apigen.Pipeline](ctx, c, path, nil)
	if err != nil {
		return pipeline, err
	}
	if contract.Status(pipeline.Status) != contract.StatusCompleted {
		return pipeline, errRunFailed{a.unfinished(pipeline)}
	}
	return pipeline, nil
}

// unfinished is why a pipeline did not complete. One that failed or stopped waits, and need not begin anew.
func (a *app) unfinished(p apigen.Pipeline) *contract.Error {
	problem := p.Error
	if problem.Code == "" {
		return contract.Errorf(contract.CodeConflict, "the pipeline was %s", p.Status)
	}
	if status := contract.Status(p.Status); status == contract.StatusFailed || status == contract.StatusStopped {
		again := fmt.Sprintf("`%s` runs that stage alone again", a.hint("pipelines retry %s", p.ID))
		if problem.Remedy == "" || strings.HasPrefix(problem.Remedy, "retry ") {
			problem.Remedy = again
		} else {
			problem.Remedy = strings.TrimSuffix(problem.Remedy, ", then retry") + "; then " + again
		}
	}
	return &problem
}

// pipelineView shows one line a stage; training and evaluation are followed on their own streams.
type pipelineView struct {
	app    *app
	client *apiclient.Client
	ctx    context.Context
	bars   map[string]*line
	// proposal is what the recommend stage found, in one line.
	proposal string
}

func (v *pipelineView) event(e contract.Event) error {
	switch e.Type {
	case contract.EventType(contract.KindPipeline, contract.EventStage):
		var stage contract.StageChanged
		if err := json.Unmarshal(e.Payload, &stage); err != nil {
			return err
		}
		return v.stage(stage)
	case contract.EventType(contract.KindPipeline, contract.EventProposed):
		var proposal contract.Recommendation
		if err := json.Unmarshal(e.Payload, &proposal); err != nil {
			return err
		}
		v.proposal = summary(proposal)
		return nil
	default:
		return nil
	}
}

func (v *pipelineView) stage(stage contract.StageChanged) error {
	switch stage.Status {
	case contract.StatusRunning:
		return v.running(stage)
	case contract.StatusCompleted:
		if bar := v.bars[stage.Stage]; bar != nil {
			bar.done(stage.Stage, v.outcome(stage))
		}
		return nil
	default:
		return nil // a failure is told of the pipeline, too, once it waits for a retry
	}
}

// outcome says in a few words what a stage came to.
func (v *pipelineView) outcome(stage contract.StageChanged) string {
	switch stage.Stage {
	case contract.StageAnalyze:
		return "the data can be used"
	case contract.StageRecommend:
		return v.proposal
	case contract.StageDeploy:
		return "the tuned model answers"
	default:
		return stage.ID
	}
}

// summary is a proposal in one line.
func summary(r contract.Recommendation) string {
	c := r.Config
	method := c.Method
	if c.Method != "full" {
		method += fmt.Sprintf(" r=%d", c.LoRA.Rank)
	}
	long := "how long is not known"
	if low, high := r.Seconds[0], r.Seconds[1]; high > 0 {
		long = fmt.Sprintf("%s to %s", seconds(time.Duration(low*float64(time.Second))), seconds(time.Duration(high*float64(time.Second))))
	}
	return fmt.Sprintf("%s: %s, rate %g, %d steps of %d rows, %s", r.ModelID, method, c.LearningRate, r.Steps,
		c.BatchSize*max(c.GradientAccumulationSteps, 1), long)
}

func (v *pipelineView) running(stage contract.StageChanged) error {
	bar := v.bars[stage.Stage]
	if bar == nil {
		bar = v.app.line()
		v.bars[stage.Stage] = bar
	}
	switch {
	case stage.Stage == contract.StageTrain && stage.ID != "":
		delete(v.bars, stage.Stage)
		_, err := v.app.watchJob(v.ctx, v.client, stage.ID)
		return unlessFailed(err)
	case stage.Stage == contract.StageEvaluate && stage.ID != "":
		delete(v.bars, stage.Stage)
		_, err := v.app.watchEvaluation(v.ctx, v.client, stage.ID)
		return unlessFailed(err)
	default:
		bar.update(stage.Stage, 0, 0, "")
	}
	return nil
}

// unlessFailed leaves it to the pipeline to say that the run of a stage has failed, and what can be done.
func unlessFailed(err error) error {
	var failed errRunFailed
	if errors.As(err, &failed) {
		return nil
	}
	return err
}

func (a *app) printPipeline(w io.Writer, p apigen.Pipeline) {
	t := table(w)
	row(t, "id", p.ID)
	row(t, "status", p.Status)
	for _, s := range p.Stages {
		row(t, "  "+s.Stage, s.Status, seconds(time.Duration(s.Seconds*float64(time.Second))), s.ID)
	}
	if p.ModelID != "" {
		row(t, "tuned model", p.ModelID)
	}
	switch {
	case contract.Status(p.Status) != contract.StatusCompleted:
	case p.DeploymentID != "":
		row(t, "talk to it", a.hint(`chat %s "your question"`, p.ModelID))
	default:
		row(t, "serve it", a.hint("deploy %s", p.ModelID))
	}
	if p.Error.Code != "" {
		row(t, "error", p.Error.Error())
	}
	_ = t.Flush()
}

func (a *app) pipelinesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "pipelines", Short: "List, watch and steer pipelines"}
	cmd.AddCommand(
		listCommand(a, "List pipelines", "/api/pipelines", func(w io.Writer, page apigen.PipelinePage) {
			t := table(w)
			row(t, "ID", "NAME", "STATUS", "MODEL", "CREATED")
			for _, p := range page.Items {
				row(t, p.ID, p.Name, p.Status, p.ModelID, p.CreatedAt.Local().Format("2006-01-02 15:04"))
			}
			_ = t.Flush()
		}, bySearch, byStatus, bySort),
		getCommand(a, "pipeline id", "/api/pipelines/", a.printPipeline),
		a.pipelinesWatch(), a.pipelineVerb("retry", "Run the stage alone again that failed, or whose run was cancelled"),
		a.pipelineVerb("confirm", "Accept the proposal"), a.pipelineVerb("cancel", "Cancel"))
	return cmd
}

func (a *app) pipelinesWatch() *cobra.Command {
	return idCommand(a, "watch", "Follow a pipeline to its end", "pipeline id", a.watchPipeline, a.printPipeline)
}

func (a *app) pipelineVerb(verb, short string) *cobra.Command {
	return idCommand(a, verb, short, "pipeline id", func(ctx context.Context, c *apiclient.Client, id string) (apigen.Pipeline, error) {
		return apiclient.Post[apigen.Pipeline](ctx, c, "/api/pipelines/"+url.PathEscape(id)+"/"+verb, nil)
	}, func(w io.Writer, p apigen.Pipeline) { _, _ = fmt.Fprintf(w, "%s %s\n", p.ID, p.Status) })
}
