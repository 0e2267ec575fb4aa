package pyenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// pythonNames are tried in order. The lock serves 3.11 to 3.13.
var pythonNames = []string{"python3.13", "python3.12", "python3.11", "python3"}

// probePatience bounds one question to an interpreter: version managers put slow scripts in front of it.
const probePatience = 20 * time.Second

// Python is an interpreter that fits.
type Python struct {
	Path  string `json:"path"`
	Minor string `json:"minor"` // "3.12"
}

// FindPython returns an interpreter of version 3.11 to 3.13: the wanted one (a path or a name; refused if it does not
// fit), else the first that PATH has, else one that uv has installed. It fails with CodePrerequisite and the remedy.
func FindPython(ctx context.Context, wanted string) (Python, error) {
	if wanted != "" {
		python, err := probePython(ctx, wanted)
		if err != nil {
			return Python{}, contract.Errorf(contract.CodePrerequisite, "the Python named by VIBEFLOW_PYTHON, %s, cannot be used: %w", wanted, err).
				Mend("name one of version 3.11, 3.12 or 3.13, or unset it")
		}
		return python, nil
	}
	for _, name := range pythonNames {
		if python, err := probePython(ctx, name); err == nil {
			return python, nil
		}
	}
	if python, ok := pythonOfUV(ctx); ok {
		return python, nil
	}
	if err := ctx.Err(); err != nil {
		return Python{}, err
	}
	return Python{}, contract.Errorf(contract.CodePrerequisite, "Python 3.11, 3.12 or 3.13 was not found on this machine").
		Mend("%s, or name one with VIBEFLOW_PYTHON=/path/to/python3", installPython)
}

// probePython asks an interpreter for its version and for its real path. Only what an interpreter answers counts: a
// version manager's stand-in is in PATH whether or not there is anything behind it.
func probePython(ctx context.Context, name string) (Python, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return Python{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	command := exec.CommandContext(ctx, path, "-I", "-c", `import sys; print("%d.%d" % sys.version_info[:2], sys.executable)`)
	command.Env = cleanEnv()
	command.WaitDelay = time.Second
	out, err := command.Output()
	if err != nil {
		return Python{}, fmt.Errorf("it does not run: %w", err)
	}
	minor, executable, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	switch minor {
	case "3.11", "3.12", "3.13":
		return Python{Path: executable, Minor: minor}, nil
	}
	return Python{}, fmt.Errorf("it is version %s", minor)
}

func pythonOfUV(ctx context.Context) (Python, bool) {
	uv, err := exec.LookPath("uv")
	if err != nil {
		return Python{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, uv, "python", "find", "--no-python-downloads", ">=3.11,<3.14").Output()
	if err != nil {
		return Python{}, false
	}
	python, err := probePython(ctx, strings.TrimSpace(string(out)))
	return python, err == nil
}

// cleanEnv is the environment without what would make an interpreter load other packages than its own.
func cleanEnv(extra ...string) []string {
	var env []string
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__":
			continue
		}
		env = append(env, entry)
	}
	return append(env, extra...)
}

func isNotEmpty(err error) bool { return errors.Is(err, syscall.ENOTEMPTY) }
