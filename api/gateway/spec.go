package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/recommend"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	specVersion  = 1
	leaseSeconds = 600
)

// plan is what a launch is to do, and the objects that it may read for it.
type plan struct {
	spec   contract.RunSpec
	inputs []contract.ObjectRef
	base   *store.Model // that the run's model was made from, or is
}

// plan reads a run's rows into the runner's input. Paths are left to the worker.
func (g *Gateway) plan(ctx context.Context, runID string) (*plan, error) {
	kind, ok := store.RunKind(runID)
	if !ok {
		return nil, contract.Errorf(contract.CodeNotFound, "there is no run %q", runID)
	}
	p := &plan{spec: contract.RunSpec{Version: specVersion, RunID: runID, Device: "auto", LeaseSeconds: leaseSeconds}}
	run, err := g.store.GetRun(ctx, runID)
	switch {
	case err == nil:
		p.spec.Dataset = run.Dataset
	case contract.CodeOf(err) != contract.CodeNotFound:
		return nil, err
	}
	switch kind {
	case contract.KindJob:
		return p, g.planTraining(ctx, p)
	case contract.KindEvaluation:
		return p, g.planEvaluation(ctx, p)
	default:
		return p, g.planExport(ctx, p)
	}
}

func (g *Gateway) planTraining(ctx context.Context, p *plan) error {
	job, err := g.store.GetJob(ctx, p.spec.RunID)
	if err != nil {
		return err
	}
	p.spec.Verb, p.spec.Model, p.spec.Training = contract.VerbTrain, job.Model, &job.Config
	p.spec.Training.Adjust(job.Adjusted)
	if err := g.addDataset(ctx, p, job.DatasetID, true); err != nil {
		return err
	}
	return g.addModel(ctx, p, job.ProjectID, job.ModelID)
}

func (g *Gateway) planEvaluation(ctx context.Context, p *plan) error {
	evaluation, err := g.store.GetEvaluation(ctx, p.spec.RunID)
	if err != nil {
		return err
	}
	p.spec.Verb, p.spec.Evaluate = contract.VerbEvaluate, &evaluation.Config
	if err := g.addDataset(ctx, p, evaluation.DatasetID, false); err != nil {
		return err
	}
	return g.addModel(ctx, p, evaluation.ProjectID, evaluation.ModelID)
}

func (g *Gateway) planExport(ctx context.Context, p *plan) error {
	export, err := g.store.GetExport(ctx, p.spec.RunID)
	if err != nil {
		return err
	}
	card, err := g.modelCard(ctx, export.ModelID)
	if err != nil {
		return err
	}
	p.spec.Verb = contract.VerbExport
	p.spec.Export = &contract.ExportSpec{Format: export.Format, Card: card}
	return g.addModel(ctx, p, export.ProjectID, export.ModelID)
}

// addModel names the base model and, for a tuned one, the weights to put beside it. A source that the run's own row
// fixed (a Hub revision) is kept.
func (g *Gateway) addModel(ctx context.Context, p *plan, projectID, modelID string) error {
	m, err := g.store.GetModel(ctx, modelID)
	if err != nil {
		return err
	}
	base, err := g.store.BaseOf(ctx, m)
	if err != nil {
		return err
	}
	p.base = base
	if p.spec.Model.Source == "" {
		p.spec.Model = base.Ref
	}
	p.spec.Model.Files = p.files(uploaded(base))
	if m.Tuned() {
		p.spec.Adapter = weightsOf(m)
		p.files(m.Files)
	}
	return g.addHubToken(ctx, projectID, &p.spec.Model)
}

// addHubToken lets the worker fetch a gated model as the project's user. The token is in this answer alone: no row and no
// event has it.
func (g *Gateway) addHubToken(ctx context.Context, projectID string, model *contract.ModelRef) (err error) {
	if hubID(*model) == "" || model.Token != "" {
		return nil
	}
	model.Token, err = g.store.SettingOf(ctx, projectID, store.SettingHubToken)
	return err
}

// predict is the most memory that the recommender expects a training to take on the machine that asks for it, 0 where
// nothing is known. It is for the preflight to compare with: no launch fails for want of it.
func (g *Gateway) predict(ctx context.Context, p *plan, worker string) int64 {
	workers, err := g.store.ListWorkers(ctx)
	if err != nil || p.base == nil {
		return 0
	}
	entry, err := catalog.Of(p.base)
	if err != nil {
		return 0
	}
	for _, w := range workers {
		var h hardware.Hardware
		if strings.HasPrefix(worker, w.ID+"/") && json.Unmarshal(w.Hardware, &h) == nil {
			return recommend.Memory(*p.spec.Training, entry, h).High
		}
	}
	return 0
}

// uploaded are the files of a base that somebody has uploaded.
func uploaded(base *store.Model) []store.ModelFile {
	if base.Tuned() {
		return nil
	}
	return base.Files
}

// files lets a launch read stored files, and names them for it.
func (p *plan) files(stored []store.ModelFile) []contract.FileInfo {
	for _, f := range stored {
		p.inputs = append(p.inputs, contract.ObjectRef{ObjectID: f.ObjectID, SHA256: f.SHA256, Size: f.Size})
	}
	return infosOf(stored)
}

func infosOf(stored []store.ModelFile) (infos []contract.FileInfo) {
	for _, f := range stored {
		infos = append(infos, f.FileInfo)
	}
	return infos
}

func weightsOf(m *store.Model) *contract.Input {
	in := &contract.Input{Method: m.Method, Files: infosOf(m.Files)}
	for _, f := range in.Files {
		in.Size += f.Size
	}
	return in
}

// addDataset names the splits that a run reads: both to train, the held-out one to evaluate. What the first launch was
// given stands.
func (g *Gateway) addDataset(ctx context.Context, p *plan, datasetID string, train bool) error {
	if p.spec.Dataset != nil {
		return nil
	}
	d, err := g.store.GetDataset(ctx, datasetID)
	if err != nil {
		return err
	}
	switch {
	case d.Status == contract.StatusQueued || d.Status == contract.StatusRunning:
		return contract.Errorf(contract.CodeUnavailable, "dataset %s is still being read", d.ID).Mend("wait until it is ready")
	case d.Status != contract.StatusReady || d.Train == nil:
		return contract.Errorf(contract.CodeBadData, "dataset %s is %s and has no rows to train on", d.ID, d.Status).Mend("process it, or take another")
	}
	if !train && (d.Eval == nil || d.EvalRows == 0) {
		return contract.Errorf(contract.CodeBadData, "dataset %s holds no rows out: there is nothing to evaluate on", d.ID).
			Mend("process it with an evaluation split")
	}
	p.spec.Dataset = &contract.DatasetRef{ID: d.ID, Format: d.Canonical}
	if train {
		p.spec.Dataset.Train = p.input(d.Train)
	}
	if d.Eval != nil {
		p.spec.Dataset.Eval = p.input(d.Eval)
	}
	return nil
}

func (p *plan) input(ref *contract.ObjectRef) contract.Input {
	p.inputs = append(p.inputs, *ref)
	return contract.Input{SHA256: ref.SHA256, Size: ref.Size}
}

func (g *Gateway) getDeployment(c *echo.Context) error {
	ctx := c.Request().Context()
	d, err := g.store.GetDeployment(ctx, c.Param("id"))
	if err != nil {
		return err
	}
	m, err := g.store.GetModel(ctx, d.ModelID)
	if err != nil {
		return err
	}
	base, err := g.store.BaseOf(ctx, m)
	if err != nil {
		return err
	}
	spec := contract.DeploymentSpec{DeploymentID: d.ID, ModelID: m.ID, Base: base.Ref, Served: d.Status == contract.StatusServing}
	spec.Base.Files = infosOf(uploaded(base))
	if m.Tuned() {
		spec.Weights = weightsOf(m)
	}
	if err := g.addHubToken(ctx, d.ProjectID, &spec.Base); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, spec)
}

func (g *Gateway) putServing(c *echo.Context) error {
	var serving contract.Serving
	if err := readBody(c, maxJSONBody, &serving); err != nil {
		return err
	}
	if err := checkServing(serving); err != nil {
		return err
	}
	if err := g.store.SaveServing(c.Request().Context(), c.Param("id"), serving); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (g *Gateway) deleteServing(c *echo.Context) error {
	if err := g.store.LoseServing(c.Request().Context(), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
