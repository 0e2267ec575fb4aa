// Command runner-env builds the Python runner's environment ahead of its first use, beside the Go build, and runs the
// development tools of workers/peft:
//
//	runner-env                       build the environment that workers use
//	runner-env --python              the same, and print its interpreter, for the tests of the real runner
//	runner-env --dev -- -m pytest …  run Python with pytest and ruff, on the source in the checkout
//
// It does not link Temporal, so that it builds in seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/workers/peft"
)

const source = "workers/peft"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	options := pyenv.Options{Files: peft.Files, Python: os.Getenv("VIBEFLOW_PYTHON"), UV: os.Getenv("VIBEFLOW_UV"),
		TorchIndex: os.Getenv("VIBEFLOW_TORCH_INDEX")}
	dev := len(args) > 1 && args[0] == "--dev"
	if dev {
		options.Files, options.Kind, args = devFiles{os.DirFS(source)}, pyenv.KindCPU, args[2:]
	}
	env, err := pyenv.Ensure(ctx, options, tell)
	if err != nil {
		fmt.Fprintln(os.Stderr, "runner-env:", err)
		return 1
	}
	if len(args) == 1 && args[0] == "--python" {
		fmt.Println(env.Python)
		return 0
	}
	if !dev {
		fmt.Fprintf(os.Stderr, "the runner's environment is ready: %s\n", env.Root)
		return 0
	}
	return python(ctx, env.Python, args)
}

// devFiles shows the lock with the development tools as the one to build from.
type devFiles struct{ fs.FS }

func (f devFiles) Open(name string) (fs.File, error) {
	if name == "cpu.lock" {
		name = "dev.lock"
	}
	return f.FS.Open(name)
}

func python(ctx context.Context, interpreter string, args []string) int {
	cmd := exec.CommandContext(ctx, interpreter, args...) //nolint:gosec // our own environment's interpreter
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "PYTHONPATH="+source, "PYTHONDONTWRITEBYTECODE=1", "TOKENIZERS_PARALLELISM=false")
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		fmt.Fprintln(os.Stderr, "runner-env:", err)
		return 1
	default:
		return 0
	}
}

var last time.Time

// tell prints a line when something new happens, and otherwise every ten seconds.
func tell(p pyenv.Progress) {
	if p.Phase == pyenv.PhaseReady || (time.Since(last) < 10*time.Second && p.Phase != pyenv.PhaseInstaller) {
		return
	}
	last = time.Now()
	fmt.Fprintf(os.Stderr, "  environment: %s %s (%s, %.0f s)\n", p.Phase, p.Line, humanize.IBytes(uint64(p.Bytes)), p.Elapsed.Seconds())
}
