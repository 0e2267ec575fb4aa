package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// chatRequest is OpenAI's, as far as the CLI uses it.
type chatRequest struct {
	Model       string        `json:"model"`
	Messages    []chatMessage `json:"messages"`
	Temperature float64       `json:"temperature"`
	MaxTokens   int           `json:"max_completion_tokens"`
	Stream      bool          `json:"stream"`
}

type chatMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (a *app) chatCommand() *cobra.Command {
	request := chatRequest{Stream: true}
	cmd := &cobra.Command{
		Use: "chat MODEL [QUESTION]", Short: "Talk to a deployed model; without a question, line by line", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Model = args[0]
			if len(args) > 1 {
				request.Messages = []chatMessage{{"user", strings.Join(args[1:], " ")}}
				_, err := a.say(cmd.Context(), c, request)
				return err
			}
			return a.converse(cmd.Context(), c, request)
		},
	}
	cmd.Flags().Float64Var(&request.Temperature, "temperature", 0, "0 always gives the likeliest answer")
	cmd.Flags().IntVar(&request.MaxTokens, "max-tokens", 256, "most tokens of an answer")
	return cmd
}

// converse reads questions from standard input until it ends.
func (a *app) converse(ctx context.Context, c *apiclient.Client, request chatRequest) error {
	prompt := ""
	if term.IsTerminal(int(os.Stdin.Fd())) {
		prompt = "> "
	}
	input := bufio.NewScanner(os.Stdin)
	for a.ask(prompt); input.Scan(); a.ask(prompt) {
		question := strings.TrimSpace(input.Text())
		if question == "" {
			continue
		}
		request.Messages = append(request.Messages, chatMessage{"user", question})
		answer, err := a.say(ctx, c, request)
		if err != nil {
			return err
		}
		request.Messages = append(request.Messages, chatMessage{"assistant", answer})
	}
	return input.Err()
}

func (a *app) ask(prompt string) { _, _ = fmt.Fprint(a.err, prompt) }

// say prints an answer as it comes and returns it whole.
func (a *app) say(ctx context.Context, c *apiclient.Client, request chatRequest) (string, error) {
	var whole strings.Builder
	err := c.Chat(ctx, request, func(data []byte) error {
		var chunk struct {
			Choices []struct {
				Delta struct{ Content string }
			}
			Error *struct{ Message string }
		}
		if err := json.Unmarshal(data, &chunk); err != nil {
			return err
		}
		if chunk.Error != nil {
			return contract.Errorf(contract.CodeInternal, "the model stopped in the middle: %s", chunk.Error.Message)
		}
		for _, choice := range chunk.Choices {
			whole.WriteString(choice.Delta.Content)
			if !a.json {
				_, _ = io.WriteString(a.out, choice.Delta.Content)
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return whole.String(), a.print(map[string]string{"model": request.Model, "answer": whole.String()}, func(w io.Writer) { _, _ = fmt.Fprintln(w) })
}

// answer asks one question without showing anything.
func answer(ctx context.Context, c *apiclient.Client, model, question string) (string, error) {
	quiet := &app{out: io.Discard, err: io.Discard}
	return quiet.say(ctx, c, chatRequest{Model: model, Messages: []chatMessage{{"user", question}}, MaxTokens: 128, Stream: true})
}
