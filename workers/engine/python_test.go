package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
	"github.com/vibeflow/vibeflow/workers/engine"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// TestRealEngineServesATunedModel trains the tiny model, deploys its adapter and asks it; kills the engine, and asks
// again. VIBEFLOW_TEST_PYTHON names an interpreter that has the runner's environment.
func TestRealEngineServesATunedModel(t *testing.T) {
	path := os.Getenv("VIBEFLOW_TEST_PYTHON")
	if path == "" {
		t.Skip("VIBEFLOW_TEST_PYTHON names no interpreter with the runner's environment")
	}
	source, err := filepath.Abs(filepath.Join("..", "peft"))
	require.NoError(t, err)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b := newBench(t)
	starter := &runner.Starter{Python: runner.Python{Path: path, Source: source, Key: "test"}, Log: log}
	start := func(ctx context.Context, launch runner.Launch) (runner.Process, error) {
		process, err := starter.Start(ctx, launch)
		b.t.Cleanup(process.Kill)
		return process, err
	}
	b.gateway.AddDeployment(contract.DeploymentSpec{
		DeploymentID: "dep_1", ModelID: "model_1", Base: contract.ModelRef{Source: "tiny:llama"}, Weights: b.trainTiny(start),
	})
	m := engine.New(engine.Config{
		Scratch: b.scratch, Gateway: b.gateway.Client(t), Worker: "host/instance/boot", Start: start, Log: log,
	})
	kept, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Keep(kept) }()
	t.Cleanup(func() { cancel(); <-done })

	s := b.serve(m, "dep_1")
	first := b.awaitTold("dep_1", 1)
	answer := ask(t, first)
	require.NotEmpty(t, b.loaded(first))

	record, err := os.ReadFile(filepath.Join(b.engineFolder(), "engine.json"))
	require.NoError(t, err)
	var known struct {
		PID int `json:"pid"`
	}
	require.NoError(t, json.Unmarshal(record, &known))
	runner.FindProcess(known.PID).Kill()
	require.Equal(t, answer, ask(t, b.awaitTold("dep_1", 2)), "a greedy answer is the same")

	close(s.stop)
	require.NoError(t, s.wait())
	require.NoError(t, m.StopAll())
}

func (b *bench) engineFolder() string {
	entries, err := os.ReadDir(b.scratch.Engines())
	require.NoError(b.t, err)
	require.Len(b.t, entries, 1)
	return filepath.Join(b.scratch.Engines(), entries[0].Name())
}

// trainTiny trains the tiny model for two steps and returns its adapter.
func (b *bench) trainTiny(start func(context.Context, runner.Launch) (runner.Process, error)) *contract.Input {
	var rows strings.Builder
	for i := range 8 {
		fmt.Fprintf(&rows, `{"prompt":"Say %d.","completion":"It is %d."}`+"\n", i, i)
	}
	train := b.gateway.AddBlob([]byte(rows.String()))
	b.gateway.AddRun("job_1", contract.KindJob, contract.RunSpec{
		Version: 1, Verb: contract.VerbTrain, Model: contract.ModelRef{Source: "tiny:llama"},
		Dataset: &contract.DatasetRef{ID: "ds_1", Format: "prompt_completion", Train: contract.Input{SHA256: train.SHA256, Size: train.Size}},
		Training: &contract.Training{
			Method: "lora", MaxSteps: 2, Epochs: 1, LearningRate: 1e-3, Scheduler: "constant", BatchSize: 2, GradientAccumulationSteps: 1,
			MaxGradNorm: 1, MaxLength: 64, CompletionOnly: true, Precision: "fp32", Seed: 1,
			LoRA: contract.LoRA{Rank: 2, Alpha: 2, TargetModules: "all-linear"},
		},
	})
	s := runner.New(runner.Config{
		Scratch: b.scratch, Gateway: b.gateway.Client(b.t), Worker: "host/instance/boot", MinFree: 1, Threads: 1, Start: start,
	})
	out, err := s.Run(b.t.Context(), gpu.RunRequest{Input: contract.RunInput{RunID: "job_1", Kind: contract.KindJob}})
	require.NoError(b.t, err)
	require.Equal(b.t, contract.OutcomeCompleted, out.Outcome)
	var weights *contract.Input
	b.gateway.Look("job_1", func(r *gatewaytest.Run) {
		for _, artifact := range r.Artifacts {
			if artifact.Kind == "adapter" {
				weights = &contract.Input{Files: artifact.Files, Method: "lora"}
			}
		}
	})
	require.NotNil(b.t, weights)
	return weights
}

// ask returns the greedy answer of a deployment.
func ask(t *testing.T, at contract.Serving) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"model": at.Name, "max_tokens": 8, "temperature": 0, "messages": []map[string]string{{"role": "user", "content": "Say 3."}},
	})
	require.NoError(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at.URL+"/v1/chat/completions", bytes.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+at.Token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode, string(data))
	var completion struct {
		Choices []struct{ Message struct{ Content string } }
		Usage   struct {
			Completion int `json:"completion_tokens"`
		}
	}
	require.NoError(t, json.Unmarshal(data, &completion))
	require.Len(t, completion.Choices, 1)
	require.Positive(t, completion.Usage.Completion)
	return completion.Choices[0].Message.Content
}
