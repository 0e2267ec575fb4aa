package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// TokensGateway is the part of the gateway's client that a Tokenizer uses.
type TokensGateway interface {
	TokensQuestion(ctx context.Context, id string) (contract.TokensQuestion, error)
	PutTokens(ctx context.Context, id string, answer contract.TokensAnswer) error
	TokensBlobs(id string) gatewayclient.BlobSource
}

// Tokenizer shows rows as a model's tokens, with the runner's `inspect`: what it shows is what is trained on.
type Tokenizer struct {
	Python  Python
	Scratch *Scratch
	Gateway TokensGateway
	Log     *slog.Logger
}

// Answer fetches a question, and gives the answer or the reason why there is none.
func (t *Tokenizer) Answer(ctx context.Context, questionID string) error {
	question, err := t.Gateway.TokensQuestion(ctx, questionID)
	if err != nil {
		return err
	}
	answer := contract.TokensAnswer{}
	answer.Rows, err = t.show(ctx, questionID, question)
	if err != nil {
		var failure *contract.Error
		if !errors.As(err, &failure) {
			return err
		}
		answer.Error = failure
	}
	return t.Gateway.PutTokens(ctx, questionID, answer)
}

func (t *Tokenizer) show(ctx context.Context, id string, question contract.TokensQuestion) (rows []contract.TokensRow, err error) {
	folder, err := os.MkdirTemp(t.Scratch.Root, tokensPrefix) // of this user's alone
	if err != nil {
		return nil, diskError("write rows", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	file := filepath.Join(folder, "rows.jsonl")
	if err := writeRows(file, question.Rows); err != nil {
		return nil, err
	}
	args := []string{"-m", "vibeflow_peft", "inspect", "--json", "--format", question.Format, "--file", file}
	if len(question.Model.Files) > 0 {
		tokenizer := filepath.Join(folder, "tokenizer")
		if err := fetchFolder(ctx, t.Log, t.Gateway.TokensBlobs(id), question.Model.Files, tokenizer); err != nil {
			return nil, err
		}
		args = append(args, "--tokenizer", tokenizer)
	} else {
		args = append(args, "--model", question.Model.Source, "--revision", question.Model.Revision, "--models-dir", t.Scratch.Models())
	}
	if !question.CompletionOnly {
		args = append(args, "--learn-all")
	}
	args = append(args, "--render")
	for row := range question.Rows {
		args = append(args, strconv.Itoa(row))
	}
	out, err := t.inspect(ctx, args, question.Model)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &rows); err != nil {
		return nil, fmt.Errorf("read what inspect printed: %w", err)
	}
	return rows, nil
}

func writeRows(path string, rows []json.RawMessage) error {
	var lines bytes.Buffer
	for _, row := range rows {
		lines.Write(append(bytes.TrimSpace(row), '\n'))
	}
	return diskError("write rows", os.WriteFile(path, lines.Bytes(), 0o600))
}

func (t *Tokenizer) inspect(ctx context.Context, args []string, model contract.ModelRef) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.Python.Path, args...) //nolint:gosec // our own module
	cmd.Dir = t.Scratch.Root
	cmd.Env = append(t.Python.environ(os.Environ()), environOf(contract.RunSpec{Model: model, Threads: 1})...)
	if model.Token != "" {
		cmd.Env = append(cmd.Env, "HF_TOKEN="+model.Token)
	}
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &exit):
		return nil, refusalOf(exit.Stderr)
	case err != nil:
		return nil, contract.Errorf(contract.CodeEnvironment, "Python cannot be started: %w", err).
			Mend("`vibeflow doctor` checks the environment and builds it again")
	default:
		return out, nil
	}
}

// refusalOf is the error that `inspect` prints as its last line. What it prints else may hold rows: it is a typed error too,
// which goes to who asked, and not to Temporal.
func refusalOf(stderr []byte) error {
	lines := bytes.Split(bytes.TrimSpace(stderr), []byte("\n"))
	var said struct {
		Error *contract.Error `json:"error"`
	}
	if err := json.Unmarshal(lines[len(lines)-1], &said); err != nil || said.Error == nil {
		return contract.Errorf(contract.CodeRunnerCrashed, "the rows could not be shown as tokens: %s", lines[len(lines)-1])
	}
	return said.Error
}

// tokensPrefix begins the names of the folders of questions in a scratch folder.
const tokensPrefix = "tokens-"

// sweepTokens removes rows that a killed worker left.
func (s *Scratch) sweepTokens() error {
	left, err := filepath.Glob(filepath.Join(s.Root, tokensPrefix+"*"))
	for _, path := range left {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}
