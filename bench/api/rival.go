//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/bench/internal/benchmark"
	"github.com/vibeflow/vibeflow/internal/loopback"
)

//go:embed rival.lock
var rivalLock []byte

//go:embed rival.py
var rivalApp []byte

const rivalPatience = time.Minute

// rivalPython is the interpreter of an environment with the packages of rival.lock, which is made the first time.
func rivalPython(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(rivalLock)
	home := filepath.Join(cache, "vibeflow", "bench-api", hex.EncodeToString(sum[:8]))
	python := filepath.Join(home, "bin", "python")
	if _, err := os.Stat(filepath.Join(home, "complete")); err == nil {
		return python, nil
	}
	fmt.Println("installing the FastAPI service's packages, once …")
	if err := os.RemoveAll(home); err != nil {
		return "", err
	}
	if err := command(ctx, cmp.Or(os.Getenv("VIBEFLOW_PYTHON"), "python3"), "-m", "venv", home); err != nil {
		return "", err
	}
	lock := filepath.Join(home, "rival.lock")
	if err := os.WriteFile(lock, rivalLock, 0o600); err != nil {
		return "", err
	}
	if err := command(ctx, python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--require-hashes", "-r", lock); err != nil {
		return "", err
	}
	return python, os.WriteFile(filepath.Join(home, "complete"), nil, 0o600)
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// startRival serves a database file; stop ends it.
func startRival(ctx context.Context, database, token string) (address string, said func() string, stop func(), err error) {
	python, err := rivalPython(ctx)
	if err != nil {
		return "", nil, nil, err
	}
	folder, err := os.MkdirTemp("", "vf-rival-")
	if err != nil {
		return "", nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(folder, "rival.py"), rivalApp, 0o600); err != nil {
		return "", nil, nil, err
	}
	if address, err = loopback.Free(); err != nil {
		return "", nil, nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", nil, nil, err
	}
	var output bytes.Buffer
	served := exec.Command(python, "-m", "uvicorn", "rival:app", "--host", host, "--port", port, "--workers", strconv.Itoa(runtime.NumCPU()),
		"--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
	served.Dir, served.Stdout, served.Stderr = folder, &output, &output
	served.Env = append(os.Environ(), "RIVAL_DATABASE="+database, "RIVAL_TOKEN="+token)
	served.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := served.Start(); err != nil {
		return "", nil, nil, err
	}
	stop = func() {
		_ = syscall.Kill(-served.Process.Pid, syscall.SIGKILL) // its workers too
		_ = served.Wait()
		_ = os.RemoveAll(folder)
	}
	if err := benchmark.Await(ctx, rivalPatience, "http://"+address+"/healthz"); err != nil {
		stop()
		return "", nil, nil, fmt.Errorf("%w\n%s", err, output.Bytes())
	}
	return address, output.String, stop, nil
}
