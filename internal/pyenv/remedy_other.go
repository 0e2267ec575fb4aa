//go:build !linux

package pyenv

const installPython = "install it (macOS: brew install python@3.13)"
