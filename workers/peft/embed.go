// Package peft carries the Python runner inside the Go binary: its source and the lock files of its environment.
// internal/pyenv puts both to use; the Python itself is described in docs/runner-protocol.md.
package peft

import "embed"

// Files holds vibeflow_peft/*.py, pyproject.toml and the locks: cpu.lock and cuda.lock are the runner's environment
// without and with an NVIDIA driver, installer.lock is the installer for machines that have none.
//
//go:embed vibeflow_peft/*.py pyproject.toml cpu.lock cuda.lock installer.lock
var Files embed.FS
