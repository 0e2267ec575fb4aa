package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/vibeflow/vibeflow/contract"
)

// TokensGateway is the part of the gateway's client that a Tokenizer uses.
type TokensGateway interface {
	TokensQuestion(ctx context.Context, id string) (contract.TokensQuestion, error)
	PutTokens(ctx context.Context, id string, answer contract.TokensAnswer) error
}

// Tokenizer shows rows as a model's tokens, with the runner's `inspect`: what it shows is what is trained on.
type Tokenizer struct {
	Python  Python
	Scratch *Scratch
	Gateway TokensGateway
}

// Answer fetches a question, and gives the answer or the reason why there is none.
func (t *Tokenizer) Answer(ctx context.Context, questionID string) error {
	question, err := t.Gateway.TokensQuestion(ctx, questionID)
	if err != nil {
		return err
	}
	answer := contract.TokensAnswer{}
	answer.Rows, err = t.show(ctx, question)
	if err != nil {
		var failure *contract.Error
		if !errors.As(err, &failure) {
			return err
		}
		answer.Error = failure
	}
	return t.Gateway.PutTokens(ctx, questionID, answer)
}

func (t *Tokenizer) show(ctx context.Context, question contract.TokensQuestion) (rows []contract.TokensRow, err error) {
	file, err := t.write(question.Rows)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(file)) }()
	args := []string{"-m", "vibeflow_peft", "inspect", "--json", "--model", question.Model.Source, "--revision", question.Model.Revision,
		"--models-dir", t.Scratch.Models(), "--format", question.Format, "--file", file}
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

// write puts the rows into a file of this user's alone.
func (t *Tokenizer) write(rows []json.RawMessage) (string, error) {
	file, err := os.CreateTemp(t.Scratch.Root, "tokens-*.jsonl")
	if err != nil {
		return "", diskError("write rows", err)
	}
	for _, row := range rows {
		if _, err = file.Write(append(bytes.TrimSpace(row), '\n')); err != nil {
			break
		}
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", errors.Join(diskError("write rows", err), os.Remove(file.Name()))
	}
	return file.Name(), nil
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

// sweepTokens removes rows that a killed worker left.
func (s *Scratch) sweepTokens() error {
	left, err := filepath.Glob(filepath.Join(s.Root, "tokens-*.jsonl"))
	for _, file := range left {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}
