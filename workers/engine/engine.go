package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/workers/runner"
)

// Files of an engine's folder. Lease, ready and token are of one start, and have its name before theirs: a process that
// nobody knows of (its worker died between starting it and noting it) must not be taken for the one that followed.
const (
	recordFile     = "engine.json"
	leaseFile      = "lease.json"
	readyFile      = "ready.json"
	tokenFile      = "token"
	adaptersFolder = "adapters"
	baseFolder     = "base"
)

const (
	// dtype lets the engine choose: 16 bits where the machine computes in them natively.
	dtype        = "auto"
	leaseSeconds = 600
	// superseding is an epoch beyond that of any engine's (1<<62, in the Python part).
	superseding = math.MaxInt64
	// startPatience is how long the first start may take: a base model may have to be fetched and converted.
	startPatience = 30 * time.Minute
	// stopPatience is how long an engine may take to finish its answers after SIGTERM.
	stopPatience = 15 * time.Second
	poll         = 100 * time.Millisecond
)

// record is engine.json: what an engine serves, and which process it is.
type record struct {
	Base     contract.ModelRef `json:"base"`
	PID      int               `json:"pid"`
	PIDStart string            `json:"pid_start"`
	// Start names the files of this start.
	Start string `json:"start"`
}

func (r record) process() runner.Process { return runner.Process{PID: r.PID, Start: r.PIDStart} }

func readRecord(folder string) (record, error) {
	var r record
	return r, readJSON(filepath.Join(folder, recordFile), &r)
}

// ready is ready.json, the engine's word that it answers, or why it does not.
type ready struct {
	Port     int             `json:"port"`
	PID      int             `json:"pid"`
	TokenSHA string          `json:"token_sha"`
	Device   string          `json:"device"`
	Error    *contract.Error `json:"error"`
}

// engine is a base model that is served, or will be.
type engine struct {
	m      *Manager
	key    string
	folder string
	base   contract.ModelRef
	log    *slog.Logger
	// turn is held by whoever starts or stops the process.
	turn chan struct{}

	mu      sync.Mutex
	current *instance
	claims  map[string]int // deployments by the engine's name of what they serve
	idle    time.Time      // since when nobody claims it
	tidied  bool           // what an earlier worker had loaded and nobody claims is gone
	life    string         // names the files of the newest start
}

func newEngine(m *Manager, key, folder string, base contract.ModelRef) *engine {
	return &engine{
		m: m, key: key, folder: folder, base: base, log: m.Log.With("engine", base.Source),
		turn: make(chan struct{}, 1), claims: map[string]int{}, idle: time.Now(),
	}
}

func (e *engine) path(name string) string { return filepath.Join(e.folder, name) }

// own is the path of a file of the newest start.
func (e *engine) own(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.life == "" {
		return e.path(name)
	}
	return e.path(e.life + "." + name)
}

func (e *engine) live(life string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = life
}

func (e *engine) claim(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claims[name]++
}

// release gives a claim back and tells whether it was the last of its name.
func (e *engine) release(name string) (last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.claims[name]--; e.claims[name] > 0 {
		return false
	}
	delete(e.claims, name)
	e.idle = time.Now()
	return true
}

// running is the live process, nil if there is none.
func (e *engine) running() *instance {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil || !e.current.alive() {
		return nil
	}
	return e.current
}

// take waits for the turn to start or stop the process.
func (e *engine) take(ctx context.Context) error {
	select {
	case e.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *engine) give() { <-e.turn }

// up returns the live process: the present one, that of an earlier worker, or a new one.
func (e *engine) up(ctx context.Context) (*instance, error) {
	if err := e.take(ctx); err != nil {
		return nil, err
	}
	defer e.give()
	if running := e.running(); running != nil {
		return running, nil
	}
	started, err := e.adopt(ctx)
	if started == nil && err == nil {
		started, err = e.start(ctx)
	}
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.current, e.tidied = started, false
	e.mu.Unlock()
	go started.watch(e.log)
	return started, nil
}

// adopt takes over a process that an earlier worker started, if it lives. One that is still starting is waited for.
func (e *engine) adopt(ctx context.Context) (*instance, error) {
	old, err := readRecord(e.folder)
	if err != nil || !old.process().Alive() {
		return nil, nil //nolint:nilnil,nilerr // none, or a dead one: a new one is started
	}
	e.live(old.Start)
	if err := e.renew(); err != nil {
		return nil, err
	}
	found, err := e.awaitReady(ctx, old.process())
	if err != nil {
		return nil, err
	}
	e.log.Info("took over an engine", "pid", old.PID, "url", found.url)
	return found, nil
}

// fetchBase brings an uploaded base to this machine; other bases the engine finds by itself.
func (e *engine) fetchBase(ctx context.Context, source gatewayclient.BlobSource) error {
	if len(e.base.Files) == 0 {
		return nil
	}
	if err := e.take(ctx); err != nil {
		return err
	}
	defer e.give()
	path, err := runner.FetchInput(ctx, e.log, source, contract.Input{Files: e.base.Files}, e.path(baseFolder))
	e.base.Path = path
	return err
}

// forget wipes what was fetched of the base, once nobody uses the engine.
func (e *engine) forget() {
	if len(e.base.Files) == 0 {
		return
	}
	if err := os.RemoveAll(e.path(baseFolder)); err != nil {
		e.log.Warn("the base's files are not wiped", "error", err)
	}
}

// start starts a process and waits until it answers.
func (e *engine) start(ctx context.Context) (*instance, error) {
	if err := e.admit(ctx); err != nil {
		return nil, err
	}
	if err := e.clear(); err != nil {
		return nil, err
	}
	life := randomName()
	e.live(life)
	if err := e.writeToken(); err != nil {
		return nil, err
	}
	if err := e.renew(); err != nil {
		return nil, err
	}
	began := time.Now()
	process, err := e.m.Start(ctx, runner.Launch{Args: e.arguments(), Folder: e.folder, Env: e.environ()})
	if err != nil {
		return nil, err
	}
	known := record{Base: e.base, PID: process.PID, PIDStart: process.Start, Start: life}
	known.Base.Token = "" // a secret that the next worker is told anew
	if err := writeJSON(e.path(recordFile), known); err != nil {
		process.Kill() // nobody would know of it
		return nil, err
	}
	started, err := e.awaitReady(ctx, process)
	if err == nil {
		e.log.Info("engine started", "pid", process.PID, "url", started.url, "seconds", time.Since(began).Seconds())
	}
	return started, err
}

func (e *engine) arguments() []string {
	args := []string{
		"serve", "--model", e.base.Source, "--models-dir", e.m.Scratch.Models(), "--adapters-dir", e.path(adaptersFolder),
		"--host", "127.0.0.1", "--port", "0", "--dtype", dtype, "--ready-file", e.own(readyFile),
		"--token-file", e.own(tokenFile), "--lease-file", e.own(leaseFile), "--lease-seconds", strconv.Itoa(leaseSeconds),
	}
	if e.base.Revision != "" {
		args = append(args, "--revision", e.base.Revision)
	}
	if e.base.Path != "" {
		args = append(args, "--model-path", e.base.Path)
	}
	return args
}

// environ lets only a model from the Hub go online. Its token travels by the environment: arguments are for all to see.
func (e *engine) environ() []string {
	if !strings.HasPrefix(e.base.Source, "hub:") {
		return []string{"HF_HUB_OFFLINE=1"}
	}
	env := []string{"HF_HUB_OFFLINE=0"}
	if e.base.Token != "" {
		env = append(env, "HF_TOKEN="+e.base.Token)
	}
	return env
}

// clear removes what earlier starts left, and has a process of theirs that nobody knows of leave.
func (e *engine) clear() error {
	for _, pattern := range []string{recordFile, "stderr.log", "*" + readyFile, "*" + tokenFile} {
		if err := e.each(pattern, os.Remove); err != nil {
			return fmt.Errorf("clear engine's folder: %w", err)
		}
	}
	return e.each("*"+leaseFile, e.fence)
}

// each calls do with every file of the folder whose name matches.
func (e *engine) each(pattern string, do func(path string) error) error {
	paths, err := filepath.Glob(e.path(pattern))
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := do(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// fence tells whoever reads an earlier start's lease that it is superseded. One that nobody has renewed for so long that
// its reader has left is removed.
func (e *engine) fence(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if time.Since(info.ModTime()) > 2*leaseSeconds*time.Second {
		return os.Remove(path)
	}
	var lease contract.Lease
	if readJSON(path, &lease) == nil && lease.Epoch == superseding {
		return nil
	}
	return writeJSON(path, contract.Lease{RunID: e.key, Worker: e.m.Worker, Epoch: superseding, At: time.Now()})
}

func randomName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

func (e *engine) writeToken() error {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // crypto/rand.Read never fails since Go 1.24
	return writeFile(e.own(tokenFile), []byte(hex.EncodeToString(secret[:])))
}

// renew tells the engine that somebody cares.
func (e *engine) renew() error {
	return writeJSON(e.own(leaseFile), contract.Lease{RunID: e.key, Worker: e.m.Worker, At: time.Now()})
}

// awaitReady waits for the engine's word.
func (e *engine) awaitReady(ctx context.Context, process runner.Process) (*instance, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience,
		contract.Errorf(contract.CodeUnavailable, "the engine of %s did not get ready in %s", e.base.Source, startPatience))
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	for {
		alive := process.Alive() // before reading: its last word is then read for sure
		var word ready
		err := readJSON(e.own(readyFile), &word)
		switch {
		case err == nil && word.Error != nil:
			return nil, word.Error
		case err == nil && alive:
			return e.instance(process, word)
		case !alive:
			return nil, e.crashed("the engine died before it answered")
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (e *engine) instance(process runner.Process, word ready) (*instance, error) {
	token, err := os.ReadFile(e.own(tokenFile))
	if err != nil {
		return nil, fmt.Errorf("engine's token: %w", err)
	}
	return &instance{
		process: process, url: fmt.Sprintf("http://127.0.0.1:%d", word.Port), token: strings.TrimSpace(string(token)),
		device: word.Device, gone: make(chan struct{}),
	}, nil
}

// crashed is the failure of an engine that went without a word, with the end of its stderr.
func (e *engine) crashed(what string) error {
	problem := contract.Errorf(contract.CodeRunnerCrashed, "%s (%s)", what, e.base.Source)
	problem.Detail = runner.StderrTail(e.path("stderr.log"))
	return problem
}

// admit refuses a base model that the free memory cannot take: starting it would have the system kill something.
func (e *engine) admit(ctx context.Context) error {
	need := e.m.Need(e.base)
	machine := e.m.Hardware(ctx)
	free, where := int64(machine.Memory.Available), "memory" //nolint:gosec // no machine has 8 EiB
	if len(machine.GPUs) > 0 {
		free, where = int64(machine.GPUs[0].MemoryFree), "GPU memory" //nolint:gosec // the same
	}
	if free == 0 || need <= free {
		return nil // a machine that does not tell is given the benefit of the doubt
	}
	return contract.Errorf(contract.CodeOutOfMemory, "serving %s needs about %s of %s, and %s are free",
		e.base.Source, humanize.IBytes(uint64(need)), where, humanize.IBytes(uint64(free))).Mend("stop another deployment or a running job, or deploy on a larger machine")
}

// keep does what a worker owes its engine now and then.
func (e *engine) keep(ctx context.Context) {
	select {
	case e.turn <- struct{}{}:
		defer e.give()
	default:
		if err := e.renew(); err != nil { // it is being started
			e.log.Warn("lease not renewed", "error", err)
		}
		return
	}
	e.mu.Lock()
	unused := len(e.claims) == 0 && time.Since(e.idle) > e.m.Idle
	e.mu.Unlock()
	old, err := readRecord(e.folder)
	if err != nil || !old.process().Alive() {
		if unused {
			e.forget()
		}
		return
	}
	if unused {
		e.log.Info("nobody uses the engine, it is stopped", "pid", old.PID)
		if err := e.end(old.process()); err != nil {
			e.log.Warn("engine not stopped", "error", err)
			return
		}
		e.forget()
		return
	}
	e.live(old.Start)
	if err := e.renew(); err != nil {
		e.log.Warn("lease not renewed", "error", err)
	}
	e.tidy(ctx)
}

// tidy unloads what an earlier worker had loaded and nobody has claimed since: it was taken down in between.
func (e *engine) tidy(ctx context.Context) {
	current := e.running()
	if current == nil || time.Since(e.m.born) < e.m.Idle {
		return
	}
	e.mu.Lock()
	done := e.tidied
	e.tidied = true
	e.mu.Unlock()
	if done {
		return
	}
	loaded, err := current.adapters(ctx)
	if err != nil {
		e.log.Warn("engine does not tell what it has loaded", "error", err)
		return
	}
	for _, name := range loaded {
		if e.claimed(name) {
			continue
		}
		if err := current.remove(ctx, name); err != nil {
			e.log.Warn("adapter not unloaded", "adapter", name, "error", err)
		}
	}
}

func (e *engine) claimed(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.claims[name] > 0
}

// stop ends the process for good.
func (e *engine) stop() error {
	e.turn <- struct{}{}
	defer e.give()
	defer e.forget()
	old, err := readRecord(e.folder)
	if err != nil {
		return nil //nolint:nilerr // never started
	}
	return e.end(old.process())
}

// end asks the process to leave, and kills one that does not.
func (e *engine) end(process runner.Process) error {
	process.Terminate()
	if process.AwaitExit(stopPatience) {
		return nil
	}
	process.Kill()
	if !process.AwaitExit(stopPatience) {
		return fmt.Errorf("engine %d does not go away", process.PID)
	}
	return nil
}

func readJSON(path string, out any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// writeFile replaces a file at once, with mode 0600.
func writeFile(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
