package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/vibeflow/vibeflow/contract"
)

// Launch is one Python process to start.
type Launch struct {
	// Args follow `python -m vibeflow_peft`.
	Args []string
	// Folder is where the process works and where its stderr.log goes.
	Folder string
	// Env is added to what the worker lets through ("NAME=value").
	Env []string
}

// Python is a ready environment.
type Python struct {
	// Path of the interpreter.
	Path string
	// Source is the folder that holds the package vibeflow_peft.
	Source string
	// Key names environment and source: processes of another key are not used.
	Key string
}

// Starter starts detached Python processes: runners by way of the warm parent where there is one.
type Starter struct {
	Python Python
	Warm   *Warm // nil: none
	Log    *slog.Logger
}

// Start starts a process in a session of its own, so that it outlives the worker. CodeEnvironment says that the
// interpreter itself could not be started.
func (s *Starter) Start(ctx context.Context, launch Launch) (Process, error) {
	if s.Warm != nil {
		process, err := s.Warm.Fork(ctx, launch)
		if err == nil {
			return process, nil
		}
		if errors.Is(err, errNoAnswer) {
			// There may be a runner that nobody knows the number of. A second one under the same epoch would write the same
			// files; the next launch fences it.
			return Process{}, contract.Errorf(contract.CodeUnavailable, "the warm parent took a launch and did not answer: %w", err)
		}
		s.Log.Info("no fork from the warm parent, a process is started cold", "verb", launch.Args[0], "reason", err)
	}
	return s.Python.spawn(launch)
}

// spawn starts a process from scratch: some seconds of imports.
func (p Python) spawn(launch Launch) (Process, error) {
	stderr, err := os.OpenFile(filepath.Join(launch.Folder, stderrFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return Process{}, diskError("open stderr", err)
	}
	defer stderr.Close()
	cmd := exec.Command(p.Path, append([]string{"-m", "vibeflow_peft"}, launch.Args...)...) //nolint:gosec,noctx // outlives any context
	cmd.Dir = launch.Folder
	cmd.Env = append(p.environ(os.Environ()), launch.Env...)
	cmd.Stdout, cmd.Stderr = stderr, stderr // stdin is the null device
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return Process{}, contract.Errorf(contract.CodeEnvironment, "Python cannot be started: %w", err).
			Mend("`vibeflow doctor` checks the environment and builds it again")
	}
	process := FindProcess(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }() // buries the child; how it ended is read from its result
	return process, nil
}

// passed are the variables that a Python process may see, prefixes those families. The worker's tokens are not among
// them, whatever they are called.
var (
	passed = []string{
		"PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"XDG_CACHE_HOME", "ROCR_VISIBLE_DEVICES",
	}
	prefixes = []string{"LC_", "HF_", "CUDA_", "NVIDIA_", "NCCL_", "PYTORCH_", "VIBEFLOW_RUNNER_"}
)

func (p Python) environ(from []string) []string {
	var env []string
	for _, pair := range from {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(passed, name) || slices.ContainsFunc(prefixes, func(f string) bool { return strings.HasPrefix(name, f) }) {
			env = append(env, pair)
		}
	}
	return append(env,
		"PYTHONPATH="+p.Source,
		"PYTHONUNBUFFERED=1",
		"PYTHONDONTWRITEBYTECODE=1", // the source folder may be read-only, and is shared
		"PYTHONNOUSERSITE=1",
		"TOKENIZERS_PARALLELISM=false",
		"OMP_NUM_THREADS="+strconv.Itoa(runtime.NumCPU()),
	)
}

// environOf is what depends on the run: only a model from the Hub may go online.
func environOf(spec contract.RunSpec) []string {
	threads := spec.Threads
	if threads == 0 {
		threads = runtime.NumCPU()
	}
	offline := "1"
	if strings.HasPrefix(spec.Model.Source, "hub:") {
		offline = "0"
	}
	return []string{fmt.Sprintf("OMP_NUM_THREADS=%d", threads), "HF_HUB_OFFLINE=" + offline}
}
