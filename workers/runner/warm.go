package runner

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// socketLimit is how long a Unix socket's path may be on every system.
	socketLimit = 100
	// warmCallTimeout bounds a question to the warm parent; a fork takes milliseconds.
	warmCallTimeout = 10 * time.Second
	// warmCheckEvery is how often it is asked how it is. Unasked for warmIdle, and with nothing alive that it forked, it
	// takes its worker for dead and leaves: a next worker that comes later starts one anew.
	warmCheckEvery = 30 * time.Second
	warmIdle       = 3 * time.Minute
	// warmStartTimeout is how long the imports may take on a slow, cold disk.
	warmStartTimeout = 5 * time.Minute
)

// errNoAnswer says that a question reached the warm parent and its answer did not come back: it may have been obeyed.
var errNoAnswer = errors.New("the warm parent did not answer")

// Warm looks after the warm parent: a Python process that has imported everything and forks runners in milliseconds. It
// outlives the worker, and the next worker takes it over if it is of the same build.
type Warm struct {
	python Python
	folder string
	log    *slog.Logger
	// tried is closed once Keep has a warm parent ready, or knows that there is none. A launch that comes earlier waits:
	// importing everything twice at the same time would cost both of them double.
	tried chan struct{}
}

// NewWarm returns a Warm whose process has its files in the scratch folder.
func NewWarm(scratch *Scratch, python Python, log *slog.Logger) *Warm {
	return &Warm{python: python, folder: scratch.Root, log: log, tried: make(chan struct{})}
}

// warmState is warm.json: which process listens where.
type warmState struct {
	Key      string `json:"key"`
	Socket   string `json:"socket"`
	PID      int    `json:"pid"`
	PIDStart string `json:"pid_start"`
}

func (s warmState) process() Process { return Process{PID: s.PID, Start: s.PIDStart} }

// Keep has a warm parent running until ctx ends; then it leaves it to the next worker.
func (w *Warm) Keep(ctx context.Context) {
	ticker := time.NewTicker(warmCheckEvery)
	defer ticker.Stop()
	for first := true; ; first = false {
		if err := w.ensure(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("no warm parent, runners start cold", "error", err)
		}
		if first {
			close(w.tried)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// ensure starts a warm parent unless one of this build lives.
func (w *Warm) ensure(ctx context.Context) error {
	state, err := w.read()
	if err == nil && state.process().Alive() {
		if state.Key == w.python.Key {
			return w.awaitReady(ctx, state) // the question also keeps it from leaving
		}
		w.log.Info("the warm parent is of another build and is replaced", "pid", state.PID)
		if err := state.process().killAndWait(killPatience); err != nil {
			return err
		}
	}
	return w.start(ctx)
}

// Stop ends the warm parent.
func (w *Warm) Stop() error {
	state, err := w.read()
	if err != nil {
		return nil //nolint:nilerr // there is none
	}
	return state.process().killAndWait(killPatience)
}

func (w *Warm) start(ctx context.Context) error {
	socket, err := w.socket()
	if err != nil {
		return err
	}
	logFile := filepath.Join(w.folder, "warm.log")
	// Left by a dead one; the log is of the last start only.
	if err := errors.Join(removeIfThere(socket), removeIfThere(logFile)); err != nil {
		return err
	}
	process, err := w.python.spawn(Launch{
		Args:   []string{"warm", "--socket", socket, "--log", logFile, "--idle-seconds", fmt.Sprint(warmIdle.Seconds())},
		Folder: w.folder,
	})
	if err != nil {
		return err
	}
	state := warmState{Key: w.python.Key, Socket: socket, PID: process.PID, PIDStart: process.Start}
	if err := writeJSON(w.path(), state); err != nil {
		return errors.Join(err, process.killAndWait(killPatience))
	}
	return w.awaitReady(ctx, state)
}

func (w *Warm) awaitReady(ctx context.Context, state warmState) error {
	ctx, cancel := context.WithTimeout(ctx, warmStartTimeout)
	defer cancel()
	began := time.Now()
	ticker := time.NewTicker(tailPoll)
	defer ticker.Stop()
	for {
		if _, err := w.ask(ctx, state.Socket, map[string]any{"op": "ping"}); err == nil {
			w.log.Debug("warm parent ready", "pid", state.PID, "waited", time.Since(began))
			return nil
		}
		if !state.process().Alive() {
			return fmt.Errorf("the warm parent left: %s", strings.TrimSpace(StderrTail(filepath.Join(w.folder, "warm.log"))))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// socket chooses a path that is short enough; a deep scratch folder gets a folder of its own in the temporary one.
func (w *Warm) socket() (string, error) {
	socket := filepath.Join(w.folder, "warm.sock")
	if len(socket) <= socketLimit {
		return socket, nil
	}
	if state, err := w.read(); err == nil && len(state.Socket) <= socketLimit {
		if info, err := os.Lstat(filepath.Dir(state.Socket)); err == nil && info.IsDir() && info.Mode().Perm() == 0o700 {
			return state.Socket, nil
		}
	}
	folder, err := os.MkdirTemp("", "vibeflow-")
	if err != nil {
		return "", fmt.Errorf("folder of the warm parent's socket: %w", err)
	}
	return filepath.Join(folder, "warm.sock"), nil
}

// Fork has the warm parent fork a runner or an engine; Keep must be running. Any error means that there is none to fork
// from, or that it may not.
func (w *Warm) Fork(ctx context.Context, launch Launch) (Process, error) {
	select {
	case <-w.tried:
	case <-ctx.Done():
		return Process{}, ctx.Err()
	}
	state, err := w.read()
	if err != nil {
		return Process{}, errors.New("no warm parent yet")
	}
	if state.Key != w.python.Key || !state.process().Alive() {
		return Process{}, errors.New("the warm parent is gone or of another build")
	}
	env := map[string]string{}
	for _, pair := range launch.Env {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	question := map[string]any{"op": "launch", "args": launch.Args, "stderr": filepath.Join(launch.Folder, stderrFile), "env": env}
	answer, err := w.ask(ctx, state.Socket, question)
	if err != nil {
		return Process{}, err
	}
	if answer.PID <= 1 {
		return Process{}, errors.New("the warm parent answered without a process")
	}
	return FindProcess(answer.PID), nil // gone already is fine: its result, or the lack of one, tells the rest
}

type warmAnswer struct {
	OK      bool   `json:"ok"`
	PID     int    `json:"pid"`
	Error   string `json:"error"`
	Message string `json:"message"`
}

func (w *Warm) ask(ctx context.Context, socket string, question map[string]any) (warmAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, warmCallTimeout)
	defer cancel()
	var answer warmAnswer
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return answer, err
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return answer, err
	}
	if err := json.NewEncoder(connection).Encode(question); err != nil {
		return answer, err
	}
	if err := json.NewDecoder(bufio.NewReader(connection)).Decode(&answer); err != nil {
		return answer, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	if answer.Error != "" {
		return answer, fmt.Errorf("the warm parent refused: %s %s", answer.Error, answer.Message)
	}
	return answer, nil
}

func (w *Warm) path() string { return filepath.Join(w.folder, "warm.json") }

func (w *Warm) read() (warmState, error) {
	var state warmState
	err := readJSON(w.path(), &state)
	return state, err
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
