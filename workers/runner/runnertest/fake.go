// Package runnertest has a runner that needs no Python: the test binary itself, started again, keeps the protocol of
// docs/runner-protocol.md and does what a Script says.
//
//	func TestMain(m *testing.M) { runnertest.Main(); os.Exit(m.Run()) }
package runnertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// Script tells the fake runner what to do.
type Script struct {
	Steps     int `json:"steps"`
	SaveEvery int `json:"save_every"`
	// HoldAt stops the runner after a step for as long as the file Hold exists.
	HoldAt int    `json:"hold_at"`
	Hold   string `json:"hold"`
	// Chatty has it write log lines while it is stopped.
	Chatty bool `json:"chatty"`
	// Patience is how many seconds the pulse allows it to be stopped for. 0: as long as it takes.
	Patience float64 `json:"patience"`
	// CrashAt makes it crash, with a traceback, after a step that it reports. 0: never; -1: before the first.
	CrashAt int `json:"crash_at"`
	// Torn leaves half a line behind in the event file at the crash.
	Torn bool `json:"torn"`
	// Deaf ignores SIGTERM.
	Deaf bool `json:"deaf"`
	// Fail ends the run with a typed failure, after a step that it reports. FailAt 0: before the first.
	Fail   *contract.Error `json:"fail"`
	FailAt int             `json:"fail_at"`
	// KeepLast removes older checkpoints, as the real one does. 0: keeps all.
	KeepLast int `json:"keep_last"`
}

const scriptVariable = "VIBEFLOW_RUNNER_SCRIPT"

// Main is to be called first in TestMain: in a process that is the fake runner it does not return.
func Main() {
	if text := os.Getenv(scriptVariable); text != "" {
		fakeRunner(text)
		os.Exit(0)
	}
}

// Start starts the fake runner instead of Python; it is killed at the end of the test at the latest.
func Start(t testing.TB, script Script, launch runner.Launch) (runner.Process, error) {
	text, err := json.Marshal(script)
	if err != nil {
		return runner.Process{}, err
	}
	cmd := exec.Command(os.Args[0], launch.Args...) //nolint:gosec,noctx // ourselves
	cmd.Env = append(os.Environ(), scriptVariable+"="+string(text))
	stderr, err := os.OpenFile(filepath.Join(launch.Folder, "stderr.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return runner.Process{}, err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return runner.Process{}, err
	}
	process := runner.FindProcess(cmd.Process.Pid)
	go func() { _ = cmd.Wait() }()
	t.Cleanup(process.Kill)
	return process, nil
}

type fake struct {
	Script
	spec   contract.RunSpec
	folder string
	events *os.File
	n      int
	beat   int
	step   int
	name   string
	term   chan os.Signal
}

func fakeRunner(text string) {
	time.AfterFunc(2*time.Minute, func() { os.Exit(3) }) // a test binary that panics cleans nothing up
	f := &fake{term: make(chan os.Signal, 1)}
	must(json.Unmarshal([]byte(text), &f.Script))
	data, err := os.ReadFile(os.Args[2])
	must(err)
	must(json.Unmarshal(data, &f.spec))
	f.folder = filepath.Dir(os.Args[2])
	if f.Deaf {
		signal.Ignore(syscall.SIGTERM)
	} else {
		signal.Notify(f.term, syscall.SIGTERM)
	}
	dumps := make(chan os.Signal, 1)
	signal.Notify(dumps, syscall.SIGUSR1)
	go func() {
		for range dumps {
			fmt.Fprintln(os.Stderr, "Current thread (most recent call first):\n  File \"fake.py\", line 1 in hold")
		}
	}()
	f.openEvents()
	f.run()
}

func (f *fake) openEvents() {
	path := filepath.Join(f.folder, "events.ndjson")
	data, _ := os.ReadFile(path)
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	f.n = bytes.Count(whole, []byte("\n"))
	must(os.WriteFile(path, whole, 0o600))
	var err error
	f.events, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
	must(err)
}

func (f *fake) emit(kind string, fields map[string]any) {
	f.n++
	event := map[string]any{"n": f.n, "at": time.Now(), "type": kind}
	for key, value := range fields {
		event[key] = value
	}
	line, err := json.Marshal(event)
	must(err)
	_, err = f.events.Write(append(line, '\n'))
	must(err)
}

func (f *fake) run() {
	f.emit("started", map[string]any{"total_steps": f.Steps})
	if f.CrashAt < 0 {
		f.crash()
	}
	if f.Fail != nil && f.FailAt == 0 {
		f.finish(contract.RunResult{Outcome: contract.OutcomeFailed, Error: f.Fail})
		return
	}
	if f.spec.ResumeFrom != "" {
		f.resume()
	}
	for f.step < f.Steps {
		f.step++
		f.emit("metrics", map[string]any{"step": f.step, "loss": LossAt(f.step)})
		if f.CrashAt == f.step {
			f.crash()
		}
		if f.HoldAt == f.step {
			f.hold()
		}
		if f.Fail != nil && f.FailAt == f.step {
			f.finish(contract.RunResult{Outcome: contract.OutcomeFailed, Error: f.Fail})
			return
		}
		if f.told() {
			f.save()
			f.finish(contract.RunResult{Outcome: contract.OutcomePaused})
			return
		}
		if f.SaveEvery > 0 && f.step%f.SaveEvery == 0 {
			f.save()
		}
	}
	f.finish(contract.RunResult{Outcome: contract.OutcomeCompleted, Artifacts: []contract.Manifest{f.artifact()}})
}

// LossAt is what a step brings, whoever takes it.
func LossAt(step int) float64 { return 1 / float64(step) }

func (f *fake) resume() {
	data, err := os.ReadFile(filepath.Join(f.spec.ResumeFrom, "state.bin"))
	must(err)
	_, err = fmt.Sscanf(string(data), "state at %d", &f.step)
	must(err)
	f.name = filepath.Base(f.spec.ResumeFrom)
	f.emit("resumed", map[string]any{"step": f.step, "from": f.name})
}

func (f *fake) hold() {
	f.beat++
	must(os.WriteFile(filepath.Join(f.folder, "pulse"), fmt.Appendf(nil, `{"beat":%d,"patience_seconds":%g}`, f.beat, f.Patience), 0o600))
	for !f.told() {
		if _, err := os.Stat(f.Hold); err != nil {
			return
		}
		if f.Chatty {
			f.emit("log", map[string]any{"level": "info", "message": "still here"})
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (f *fake) told() bool {
	select {
	case s := <-f.term:
		f.term <- s
		return true
	default:
		return false
	}
}

func (f *fake) crash() {
	if f.Torn {
		_, err := f.events.WriteString(`{"n":999,"type":"metr`)
		must(err)
	}
	fmt.Fprint(os.Stderr, "triton not found; flop counting will not work\nTraceback (most recent call last):\n  File \"train.py\"\nValueError: the fake gave up\n")
	os.Exit(1)
}

func (f *fake) save() {
	f.name = fmt.Sprintf("step-%08d", f.step)
	folder := filepath.Join(f.spec.CheckpointsDir, f.name)
	partial := filepath.Join(f.spec.CheckpointsDir, ".partial-"+f.name)
	manifest := seal(partial, contract.Manifest{Kind: "checkpoint", Name: f.name, Step: f.step}, fmt.Sprintf("state at %d", f.step))
	must(os.RemoveAll(folder))
	must(os.Rename(partial, folder))
	f.emit("checkpoint", map[string]any{"step": f.step, "name": f.name, "bytes": manifest.Files[0].Size})
	if f.KeepLast > 0 {
		must(os.RemoveAll(filepath.Join(f.spec.CheckpointsDir, fmt.Sprintf("step-%08d", f.step-f.KeepLast*f.SaveEvery))))
	}
}

func (f *fake) artifact() contract.Manifest {
	return seal(filepath.Join(f.spec.OutputDir, "adapter"), contract.Manifest{Kind: "adapter", Name: "adapter", Step: f.step}, fmt.Sprintf("adapter after %d", f.step))
}

func seal(folder string, manifest contract.Manifest, content string) contract.Manifest {
	must(os.MkdirAll(folder, 0o700))
	must(os.WriteFile(filepath.Join(folder, "state.bin"), []byte(content), 0o600))
	sum := sha256.Sum256([]byte(content))
	manifest.Files = []contract.FileInfo{{Path: "state.bin", SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}}
	data, err := json.Marshal(manifest)
	must(err)
	must(os.WriteFile(filepath.Join(folder, "manifest.json"), data, 0o600))
	return manifest
}

func (f *fake) finish(result contract.RunResult) {
	f.emit("finished", map[string]any{"outcome": result.Outcome, "step": f.step})
	result.Version, result.RunID, result.Epoch = 1, f.spec.RunID, f.spec.Epoch
	result.Step, result.TotalSteps, result.Checkpoint = f.step, f.Steps, f.name
	data, err := json.Marshal(result)
	must(err)
	partial := filepath.Join(f.folder, ".result.json")
	must(os.WriteFile(partial, data, 0o600))
	must(os.Rename(partial, filepath.Join(f.folder, "result.json")))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fake runner:", err)
		os.Exit(2)
	}
}
