package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/sample"
)

// demoModel is the base that comes with VibeFlow.
const demoModel = "smollm2-135m-instruct"

// demoResult is what `demo --json` prints; scripts rely on it.
type demoResult struct {
	JobID           string             `json:"job_id"`
	ModelID         string             `json:"model_id"`
	LossBase        float64            `json:"loss_base"`
	LossTuned       float64            `json:"loss_tuned"`
	LossDeltaCI     [2]float64         `json:"loss_delta_ci"` // tuned − base, 95 %
	Verdict         contract.Verdict   `json:"verdict"`
	Question        string             `json:"question"`
	AnswerBase      string             `json:"answer_base"`
	AnswerTuned     string             `json:"answer_tuned"`
	TokensPerSecond float64            `json:"tokens_per_second"`
	Stages          map[string]float64 `json:"stages"` // seconds
	URL             string             `json:"url"`
}

func (a *app) demoCommand() *cobra.Command {
	var own ownServer
	var config string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Fine-tune, evaluate, deploy and ask the bundled model on the bundled data",
		Long: `Runs the main job on what comes with VibeFlow: 436 questions and answers of an invented product's support, and
SmolLM2-135M-Instruct. Uses the server that runs on the data folder (or --server), and starts one when there is none;
with --keep that one goes on serving until Ctrl-C.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			overrides, err := parseOverrides(config)
			if err != nil {
				return err
			}
			if err := own.check(); err != nil {
				return err
			}
			return a.withServer(cmd.Context(), own, func(ctx context.Context, c *apiclient.Client) error {
				result, err := a.demo(ctx, c, overrides)
				if err != nil {
					return err
				}
				return a.print(result, func(w io.Writer) { a.printDemo(w, result) })
			})
		},
	}
	cmd.Flags().BoolVar(&own.keep, "keep", false, "keep a server that the demo started until Ctrl-C")
	cmd.Flags().StringVar(&own.listen, "listen", defaultListen, "address of a server that the demo starts")
	cmd.Flags().StringVar(&config, "config", "", "training configuration as JSON; what is absent is the recommender's")
	return cmd
}

// demo is the main job, told as a user would do it.
func (a *app) demo(ctx context.Context, c *apiclient.Client, overrides apigen.TrainingOverrides) (demoResult, error) {
	result := demoResult{Question: sample.DemoQuestion, Stages: map[string]float64{}, URL: c.Base}
	if err := checkTraining(ctx, c, demoModel, overrides); err != nil {
		return result, err
	}
	began := time.Now()
	ds, err := c.UploadDatasetFrom(ctx, bytes.NewReader(sample.Support()), sample.Name+".jsonl", apiclient.Upload{Name: sample.Name})
	if err != nil {
		return result, err
	}
	if ds, err = a.awaitDataset(ctx, c, ds.ID); err != nil {
		return result, err
	}
	result.Stages["ingest"] = time.Since(began).Seconds()
	pipeline, err := a.runPipeline(ctx, c, apigen.StartPipeline{DatasetID: ds.ID, ModelID: demoModel, Name: "demo: " + sample.Name,
		Config: overrides, AutoConfirm: true})
	if err != nil {
		return result, err
	}
	for _, stage := range pipeline.Stages {
		result.Stages[stage.Stage] = stage.Seconds
	}
	if err := result.measure(ctx, c, pipeline); err != nil {
		return result, err
	}
	return result, a.askBoth(ctx, c, &result)
}

// measure collects what training and evaluation found.
func (r *demoResult) measure(ctx context.Context, c *apiclient.Client, p apigen.Pipeline) error {
	job, err := apiclient.Get[apigen.Job](ctx, c, "/api/training/"+p.JobID, nil)
	if err != nil {
		return err
	}
	evaluation, err := apiclient.Get[apigen.Evaluation](ctx, c, "/api/evaluation/"+p.EvaluationID, nil)
	if err != nil {
		return err
	}
	found := evaluation.Result
	r.JobID, r.ModelID = p.JobID, p.ModelID
	r.LossBase, r.LossTuned, r.LossDeltaCI, r.Verdict = found.LossBase, found.LossTuned, found.LossDeltaCI, found.Verdict
	r.TokensPerSecond = job.TokensPerSecond
	if total, ok := job.Metrics["tokens_per_second"].(float64); ok {
		r.TokensPerSecond = total
	}
	return nil
}

// askBoth puts the same question to the base and to the tuned model; the base is deployed beside it, in the same engine.
func (a *app) askBoth(ctx context.Context, c *apiclient.Client, r *demoResult) error {
	began := time.Now()
	base, err := apiclient.Start[apigen.Deployment](ctx, c, "/api/deployments", apigen.StartDeployment{ModelID: demoModel})
	if err != nil {
		return err
	}
	if _, err := a.awaitDeployment(ctx, c, base.ID, "the base model"); err != nil {
		return err
	}
	bar := a.line()
	bar.update("asking both", 0, 0, "")
	if r.AnswerBase, err = answer(ctx, c, demoModel, r.Question); err != nil {
		return err
	}
	if r.AnswerTuned, err = answer(ctx, c, r.ModelID, r.Question); err != nil {
		return err
	}
	bar.done("ask", "base and tuned have answered")
	r.Stages["ask"] = time.Since(began).Seconds()
	return nil
}

func (a *app) printDemo(w io.Writer, r demoResult) {
	_, _ = fmt.Fprintf(w, `
Question   %s

  base     %s

  tuned    %s

Loss on held-out rows   %.3f → %.3f (change within [%+.3f, %+.3f] at 95 %%): %s
Trained at              %.0f tokens/s
Model                   %s
API                     %s  (OpenAI-compatible under /v1)

Talk to it:   %s "how do I clean it?"
Your own:     %s
In a browser: %s
`, r.Question, r.AnswerBase, r.AnswerTuned, r.LossBase, r.LossTuned, r.LossDeltaCI[0], r.LossDeltaCI[1], r.Verdict,
		r.TokensPerSecond, r.ModelID, r.URL, a.hint("chat %s", r.ModelID), a.hint("run FILE"), a.hint("open"))
}
