// Package filelock gives one process at a time the ownership of a file. The system takes it back when the process
// ends, however it ends, so no lock outlives its owner and none has to be cleaned up.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrHeld says that another process owns the file.
var ErrHeld = errors.New("held by another process")

const poll = 20 * time.Millisecond

// Lock is the ownership of a file.
type Lock struct{ file *os.File }

// owned keeps locks reachable: an unreachable os.File is closed by the garbage collector, and its lock with it.
var owned sync.Map

// Try takes the file at path, making it with mode 0600 if needed, and writes the caller's pid into it. It fails with
// ErrHeld if another process owns it.
func Try(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	// The pid is for people; a failure to write it must not cost the lock.
	if err := file.Truncate(0); err == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	lock := &Lock{file: file}
	owned.Store(lock, struct{}{})
	return lock, nil
}

// Wait is Try, but waits for the present owner to end until the context does; then it fails with ErrHeld.
func Wait(ctx context.Context, path string) (*Lock, error) {
	for {
		lock, err := Try(path)
		if !errors.Is(err, ErrHeld) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: %w", path, ErrHeld)
		case <-time.After(poll):
		}
	}
}

// Release gives the ownership back. Releasing twice is harmless.
func (l *Lock) Release() {
	owned.Delete(l)
	unlock(l.file)
	_ = l.file.Close()
}

// Owner returns the pid of the process that owns the file, 0 if it has not written it yet; held is false if nobody
// does. A look holds the lock for an instant itself, so owners should be patient for some milliseconds.
func Owner(path string) (pid int, held bool) {
	file, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.Close() }()
	if err := tryLock(file); !errors.Is(err, ErrHeld) {
		return 0, false
	}
	return ReadPID(path), true
}

// ReadPID returns the pid of the last owner of the file, 0 if that is unknown.
func ReadPID(path string) int {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}
