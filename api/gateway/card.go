package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// modelCard writes the README.md of an exported model: what it was made from, how, and what was measured. It says only
// what the rows say.
func (g *Gateway) modelCard(ctx context.Context, modelID string) (string, error) {
	m, err := g.store.GetModel(ctx, modelID)
	if err != nil {
		return "", err
	}
	base, err := g.store.BaseOf(ctx, m)
	if err != nil {
		return "", err
	}
	var card strings.Builder
	writeHeader(&card, m, base)
	if m.JobID != "" {
		if err := g.writeHistory(ctx, &card, m.JobID); err != nil {
			return "", err
		}
	}
	return card.String(), g.writeEvaluation(ctx, &card, m.ID)
}

// writeHistory tells how the model was trained, unless the job or its dataset was deleted.
func (g *Gateway) writeHistory(ctx context.Context, card *strings.Builder, jobID string) error {
	job, err := g.store.GetJob(ctx, jobID)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	dataset, err := g.store.GetDataset(ctx, job.DatasetID)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return nil
	}
	if err == nil {
		writeTraining(card, job, dataset)
	}
	return err
}

// hubID is the id that a model card may name as its base: only models of the Hub have one.
func hubID(ref contract.ModelRef) string {
	id, ok := strings.CutPrefix(ref.Source, "hub:")
	if !ok {
		return ""
	}
	return id
}

func writeHeader(w *strings.Builder, m, base *store.Model) {
	fmt.Fprintf(w, "---\nlibrary_name: %s\ntags: [vibeflow, sft]\n", map[bool]string{true: "peft", false: "transformers"}[m.Method == "lora"])
	if id := hubID(base.Ref); id != "" {
		fmt.Fprintf(w, "base_model: %q\n", id)
	}
	if base.License != "" {
		fmt.Fprintf(w, "license: %q\n", base.License)
	}
	fmt.Fprintf(w, "---\n\n# %s\n\nFine-tuned from %s with VibeFlow.\n", plain(m.Name), plain(base.Name))
}

func writeTraining(w *strings.Builder, job *store.Job, d *store.Dataset) {
	c := job.Config
	fmt.Fprintf(w, "\n## Training\n\n| | |\n|---|---|\n| data | %s (%d rows, sha256 `%s`) |\n", plain(d.Name), d.TrainRows, d.SHA256)
	fmt.Fprintf(w, "| method | %s |\n| steps | %d |\n| epochs | %g |\n| learning rate | %g (%s) |\n", c.Method, job.Step, c.Epochs, c.LearningRate, c.Scheduler)
	fmt.Fprintf(w, "| batch | %d × %d |\n| seed | %d |\n", c.BatchSize, c.GradientAccumulationSteps, c.Seed)
	if job.Precision != "" {
		fmt.Fprintf(w, "| precision | %s on %s |\n", job.Precision, job.Device)
	}
	if job.Loss != nil {
		fmt.Fprintf(w, "| last training loss | %.4f |\n", *job.Loss)
	}
}

func (g *Gateway) writeEvaluation(ctx context.Context, w *strings.Builder, modelID string) error {
	page, err := g.store.ListEvaluations(ctx, store.Filter{ModelID: modelID, Status: []contract.Status{contract.StatusCompleted}, Limit: 1})
	if err != nil || len(page.Items) == 0 || page.Items[0].Metrics == nil {
		return err
	}
	r := page.Items[0].Metrics
	fmt.Fprintf(w, "\n## Evaluation\n\n%s\n\n| | base | tuned |\n|---|---|---|\n", plain(r.VerdictText))
	fmt.Fprintf(w, "| held-out loss (%d rows) | %.4f | %.4f |\n", r.Rows, r.LossBase, r.LossTuned)
	fmt.Fprintf(w, "| perplexity | %.2f | %.2f |\n", r.PerplexityBase, r.PerplexityTuned)
	fmt.Fprintf(w, "\nDifference of the losses: %.4f, 95 %% interval [%.4f, %.4f].\n", r.LossDelta, r.LossDeltaCI[0], r.LossDeltaCI[1])
	return nil
}

// plain keeps a name that a user chose from being read as markup or as another line.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f:
			return ' '
		case strings.ContainsRune("|<>[]`*#", r):
			return -1
		default:
			return r
		}
	}, s)
}
