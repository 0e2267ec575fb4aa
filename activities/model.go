package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"path"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/dataset"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/recommend"
	"github.com/vibeflow/vibeflow/internal/store"
)

// workerSilence is after how long a worker that has not reported is not counted on: it reports every 30 s.
const workerSilence = 2 * time.Minute

// Recommend proposes a configuration for a dataset, a model (the bundled one unless named) and the best machine at hand.
// Choices given are kept and checked. Errors: CodeUnsupported and CodeInvalidConfig with the field, CodeConflict while the
// dataset is being read, CodeNotFound. A Hub model that is named for the first time joins the table of models.
//
// It is also what the API asks; as an activity it is wrapped by Register.
func (c *Control) Recommend(ctx context.Context, in contract.RecommendInput) (contract.Recommendation, error) {
	profile, row, err := c.profile(ctx, in.DatasetID)
	if err != nil {
		return contract.Recommendation{}, err
	}
	if in.ModelID == "" {
		in.ModelID = catalog.Bundled
	}
	model, entry, err := c.model(ctx, in.ModelID)
	if err != nil {
		return contract.Recommendation{}, err
	}
	machine, _, err := c.machine(ctx)
	if err != nil {
		return contract.Recommendation{}, err
	}
	return recommend.Recommend(recommend.Input{
		Profile: profile, TrainRows: row.TrainRows, EvalRows: row.EvalRows, Model: entry, Start: startOf(model), Hardware: machine, Fixed: in.Config,
	})
}

// Draft is a configuration that runs on a model (the bundled one unless named) whatever the data, or in.Config, checked as far
// as that is possible without data. Errors: CodeUnsupported and CodeInvalidConfig with the field, CodeInvalid for a model
// that cannot be. It adds no model to the table.
func (c *Control) Draft(ctx context.Context, in contract.RecommendInput) (contract.Training, error) {
	entry, start, err := c.entry(ctx, cmp.Or(in.ModelID, catalog.Bundled))
	if err != nil {
		return contract.Training{}, err
	}
	machine, _, err := c.machine(ctx)
	if err != nil {
		return contract.Training{}, err
	}
	input := recommend.Input{Model: entry, Start: start, Hardware: machine}
	config := recommend.Plain(input)
	if in.Config != nil {
		config = *in.Config
	}
	return config, recommend.Validate(config, input)
}

func (c *Control) profile(ctx context.Context, datasetID string) (*dataset.Profile, *store.Dataset, error) {
	row, err := c.store.GetDataset(ctx, datasetID)
	if err != nil {
		return nil, nil, err
	}
	if len(row.Profile) == 0 {
		return nil, nil, contract.Errorf(contract.CodeConflict, "the dataset has not been read yet").On("dataset_id").Mend("wait until it is ready")
	}
	profile := &dataset.Profile{}
	if err := json.Unmarshal(row.Profile, profile); err != nil {
		return nil, nil, contract.Errorf(contract.CodeInternal, "the profile of %s cannot be read: %w", datasetID, err)
	}
	return profile, row, nil
}

// entry is the catalog's entry of a model's base, or of a source that no model has been made of yet, and what a tuned model
// was trained with.
func (c *Control) entry(ctx context.Context, id string) (catalog.Entry, *contract.Training, error) {
	m, err := c.store.GetModel(ctx, id)
	if contract.CodeOf(err) == contract.CodeNotFound {
		entry, err := catalog.Parse(id)
		return entry, nil, err
	}
	if err != nil {
		return catalog.Entry{}, nil, err
	}
	_, entry, err := c.known(ctx, m)
	return entry, startOf(m), err
}

// startOf is the configuration whose work training on a model goes on with; nil for a base.
func startOf(m *store.Model) *contract.Training {
	if !m.Tuned() {
		return nil
	}
	return m.Config
}

// model finds a model and the catalog's entry of its base, under the model's own id.
func (c *Control) model(ctx context.Context, id string) (*store.Model, catalog.Entry, error) {
	m, err := c.store.GetModel(ctx, id)
	if contract.CodeOf(err) == contract.CodeNotFound {
		return c.newModel(ctx, id)
	}
	if err != nil {
		return nil, catalog.Entry{}, err
	}
	return c.known(ctx, m)
}

func (c *Control) known(ctx context.Context, m *store.Model) (*store.Model, catalog.Entry, error) {
	base, err := c.store.BaseOf(ctx, m)
	if err != nil {
		return nil, catalog.Entry{}, err
	}
	entry, err := catalog.Of(base)
	if err != nil {
		return nil, catalog.Entry{}, err
	}
	entry.ID = m.ID
	return m, entry, nil
}

// newModel adds a model that is named for the first time.
func (c *Control) newModel(ctx context.Context, name string) (*store.Model, catalog.Entry, error) {
	entry, err := catalog.Parse(name)
	if err != nil {
		return nil, catalog.Entry{}, err
	}
	row := catalog.Row(entry)
	return &row, entry, c.store.UpsertCatalog(ctx, []store.Model{row})
}

// machine is the hardware of the queue that a new run goes to: the one with the most GPU memory among the workers that
// report, else the CPU's. Without any worker the hardware is zero and the queue the CPU's.
func (c *Control) machine(ctx context.Context) (hardware.Hardware, string, error) {
	workers, err := c.store.ListWorkers(ctx)
	if err != nil {
		return hardware.Hardware{}, "", err
	}
	var best hardware.Hardware
	queue, found := contract.QueueCPU, false
	for _, w := range workers {
		var h hardware.Hardware
		if time.Since(w.LastSeenAt) > workerSilence || json.Unmarshal(w.Hardware, &h) != nil {
			continue
		}
		if !found || gpuMemory(h) > gpuMemory(best) {
			best, queue, found = h, w.Queue, true
		}
	}
	return best, queue, nil
}

func gpuMemory(h hardware.Hardware) uint64 {
	if len(h.GPUs) == 0 {
		return 0
	}
	return h.GPUs[0].Memory
}

// RegisterModel makes a model of what a job left with the gateway: its final artifact, or, for a job that was stopped to be
// kept, a checkpoint without the optimizer's state. The id follows from the job's, so a repetition finds the model. Errors:
// CodeNotFound when there is nothing to keep, CodeConflict when a finished job has left no artifact.
func (c *Control) RegisterModel(ctx context.Context, in contract.RegisterModelInput) (contract.RegisterModelOutput, error) {
	out := contract.RegisterModelOutput{ModelID: contract.DerivedID(contract.PrefixModel, in.JobID)}
	job, err := c.store.GetJob(ctx, in.JobID)
	if err != nil {
		return out, failure(err)
	}
	made, err := c.weights(ctx, in)
	if err != nil {
		return out, failure(err)
	}
	out.Step = made.Step
	files, err := c.store.ModelFiles(ctx, in.JobID, made)
	if err != nil {
		return out, failure(err)
	}
	base, entry, err := c.model(ctx, job.ModelID)
	if err != nil {
		return out, failure(err)
	}
	_, err = c.store.CreateModel(ctx, tuned(out.ModelID, job, base, entry, files))
	return out, failure(err)
}

func tuned(id string, job *store.Job, base *store.Model, entry catalog.Entry, files []store.ModelFile) store.Model {
	m := store.Model{
		ID: id, ProjectID: job.ProjectID, Name: job.Name, Source: "job", BaseModelID: base.ID, JobID: job.ID,
		Method: "lora", Config: &job.Config, Files: files, TaskTypes: base.TaskTypes, License: base.License,
		Description: "Fine-tuned from " + base.Name, ContextLength: entry.Context, Parameters: entry.Parameters,
	}
	if job.Config.Method == recommend.MethodFull {
		m.Method = "full"
	}
	for _, f := range files {
		m.Size += f.Size
	}
	return m
}

// weights finds the folder to register.
func (c *Control) weights(ctx context.Context, in contract.RegisterModelInput) (contract.Manifest, error) {
	artifacts, err := c.store.RunArtifacts(ctx, in.JobID)
	if err != nil {
		return contract.Manifest{}, err
	}
	for _, a := range artifacts {
		if a.Kind == "adapter" || a.Kind == "model" {
			return a.Manifest, nil
		}
	}
	if !in.Keep {
		return contract.Manifest{}, contract.Errorf(contract.CodeConflict, "job %s has finished without handing in its weights", in.JobID).
			Mend("start it again")
	}
	return c.checkpoint(ctx, in)
}

// checkpoint is the one named, or the newest; retention may have dropped the named one for a newer.
func (c *Control) checkpoint(ctx context.Context, in contract.RegisterModelInput) (contract.Manifest, error) {
	committed, err := c.store.Checkpoints(ctx, in.JobID)
	if err != nil {
		return contract.Manifest{}, err
	}
	if len(committed) == 0 {
		return contract.Manifest{}, contract.Errorf(contract.CodeNotFound, "job %s has no checkpoint to keep", in.JobID)
	}
	chosen := committed[0]
	for _, one := range committed {
		if one.Name == in.Checkpoint {
			chosen = one
		}
	}
	return withoutState(chosen.Manifest)
}

// withoutState keeps the weights and what is needed to use them; the rest is the optimizer's and the sampler's.
func withoutState(m contract.Manifest) (contract.Manifest, error) {
	kept := m
	kept.Files = nil
	weights := false
	for _, f := range m.Files {
		if strings.Contains(f.Path, "/") {
			continue
		}
		if usable(f.Path) {
			kept.Files = append(kept.Files, f)
			weights = weights || path.Ext(f.Path) == ".safetensors"
		}
	}
	if !weights {
		return kept, contract.Errorf(contract.CodeNotFound, "checkpoint %s holds no weights", m.Name)
	}
	return kept, nil
}

func usable(name string) bool {
	switch name {
	case "adapter_config.json", "adapter_model.safetensors", "config.json", "generation_config.json",
		"model.safetensors", "model.safetensors.index.json",
		"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja":
		return true
	}
	return strings.HasPrefix(name, "model-") && path.Ext(name) == ".safetensors"
}

// AssembleExport lists what an export's run has handed in; the API makes the archive while it is downloaded.
func (c *Control) AssembleExport(ctx context.Context, in contract.RunInput) (contract.ExportOutput, error) {
	artifacts, err := c.store.RunArtifacts(ctx, in.RunID)
	if err != nil {
		return contract.ExportOutput{}, failure(err)
	}
	var out contract.ExportOutput
	for _, a := range artifacts {
		out.Files += len(a.Manifest.Files)
		out.Bytes += a.Bytes
	}
	if out.Files == 0 {
		return out, failure(contract.Errorf(contract.CodeConflict, "export %s has finished without handing in a file", in.RunID).Mend("start it again"))
	}
	return out, nil
}
