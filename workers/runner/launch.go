package runner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// launch is one epoch of a run, with its runner alive, or dead and its leavings to be sent.
type launch struct {
	*attempt
	epoch   int64
	acked   int64 // lines that the log had when the launch was taken
	gate    *gatewayclient.Run
	dir     EpochFolder
	process Process
	lease   contract.Lease
	log     *slog.Logger
	// witnessed says that this supervisor saw the runner alive: only such a death counts against the run.
	witnessed bool
	// committed is the newest checkpoint that the gateway has.
	committed *contract.Manifest
	oomBefore int64
}

// inherit takes over what this folder has of the run's current epoch: a runner that lives, or the leavings of one that
// died while no worker looked. Nil without an error when there is nothing, or when all of it has been handed in.
func (a *attempt) inherit(ctx context.Context, state contract.RunState) (*launch, error) {
	if state.Epoch == a.settled || state.Result != nil {
		return nil, nil
	}
	dir := a.folder.Epoch(state.Epoch)
	lease, err := readLease(dir)
	if err != nil {
		a.log.Warn("a launch's lease is unreadable, it is started again", "epoch", state.Epoch, "error", err)
	}
	if lease == nil || lease.Epoch != state.Epoch {
		return nil, nil // never started: its claim was this folder's last act
	}
	claim, err := a.adopt(ctx, state.Epoch)
	if err != nil {
		return nil, err
	}
	l := a.newLaunch(claim, dir)
	l.committed = state.Checkpoint
	l.process = Process{PID: lease.PID, Start: lease.PIDStart}
	l.witnessed = l.process.Alive()
	l.lease = *lease
	l.lease.Worker, l.lease.At = a.s.Worker, time.Now()
	l.log.Info("took over a launch", "epoch", l.epoch, "pid", lease.PID, "alive", l.witnessed, "acked", claim.Acked)
	return l, writeJSON(dir.path(leaseFile), l.lease)
}

func (a *attempt) adopt(ctx context.Context, epoch int64) (claim contract.Claim, err error) {
	err = a.patiently(ctx, "adopt", func(ctx context.Context) (err error) {
		claim, err = a.s.Gateway.Adopt(ctx, a.id, contract.AdoptRequest{Epoch: epoch, Worker: a.s.Worker})
		return err
	})
	return claim, err
}

func (a *attempt) newLaunch(claim contract.Claim, dir EpochFolder) *launch {
	return &launch{
		attempt: a, epoch: claim.Epoch, acked: claim.Acked, dir: dir, committed: claim.Checkpoint,
		gate: a.s.Gateway.Run(a.id, a.s.Worker, claim), oomBefore: oomKills(),
		log: a.log.With("epoch", claim.Epoch),
	}
}

// launch claims a new epoch and starts a runner under it, from the newest committed checkpoint that is whole.
func (a *attempt) launch(ctx context.Context, state contract.RunState) (*launch, error) {
	resume := a.resumePoint(state)
	claim, err := a.claim(ctx, state.Epoch, resume)
	if err != nil {
		return nil, err
	}
	l := a.newLaunch(claim, a.folder.Epoch(claim.Epoch))
	// A pause must not wait for a download to end.
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-a.request.Pause:
			cancel(errPausedBeforeLaunch)
		case <-work.Done():
		}
	}()
	spec, err := l.prepare(work, claim.Spec, resume)
	if cause := context.Cause(work); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, err
	}
	return l, l.start(ctx, *spec)
}

// claim takes the next epoch. A claim whose answer was lost looks like somebody else's: it is told by its worker.
func (a *attempt) claim(ctx context.Context, epoch int64, resume *contract.Manifest) (claim contract.Claim, err error) {
	request := contract.ClaimRequest{
		ExpectEpoch: epoch, Worker: a.s.Worker, Adjust: a.next.adjust, Notes: a.notesOf(resume),
		Damaged: slices.Sorted(maps.Keys(a.unusable)),
	}
	if resume != nil {
		request.Step = resume.Step
	}
	err = a.patiently(ctx, "claim", func(ctx context.Context) (err error) {
		claim, err = a.s.Gateway.Claim(ctx, a.id, request)
		return err
	})
	if err == nil {
		a.told()
		return claim, nil
	}
	code := contract.CodeOf(err)
	if code != contract.CodeConflict && code != contract.CodeEpochSuperseded {
		return claim, err
	}
	state, stateErr := a.state(ctx)
	if stateErr != nil {
		return claim, stateErr
	}
	if state.Epoch > epoch && state.Worker == a.s.Worker {
		a.told()
		return claim, errAgain
	}
	return claim, contract.Errorf(contract.CodeEpochSuperseded, "another worker claimed this run: %w", err)
}

// resumePoint is the newest committed checkpoint that is not known to be damaged, or a newer whole one that this machine
// still has of those before a damaged one. A local checkpoint beyond the committed one is never taken: the log may lack
// the steps up to it.
func (a *attempt) resumePoint(state contract.RunState) *contract.Manifest {
	committed := state.Checkpoint
	if committed == nil || a.unusable[committed.Name] == "" {
		return committed
	}
	candidates := slices.Concat(state.Earlier, localCheckpoints(a.folder))
	candidates = slices.DeleteFunc(candidates, func(m contract.Manifest) bool {
		return m.Step >= committed.Step || a.unusable[m.Name] != ""
	})
	if len(candidates) == 0 {
		return nil
	}
	// The first of equals: a committed one can be fetched again.
	newest := candidates[0]
	for _, m := range candidates[1:] {
		if m.Step > newest.Step {
			newest = m
		}
	}
	return &newest
}

// prepare brings all that the spec names to this machine and fills in its paths.
func (l *launch) prepare(ctx context.Context, spec *contract.RunSpec, resume *contract.Manifest) (*contract.RunSpec, error) {
	if spec == nil {
		return nil, contract.Errorf(contract.CodeInternal, "the gateway's claim of %s has no spec", l.id)
	}
	for _, folder := range []string{string(l.dir), l.folder.Data(), l.folder.Checkpoints()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, diskError("prepare", err)
		}
	}
	if err := l.requireRoom(l.s.MinFree + lacking(inputsOf(spec), l.folder.Data()) + lacking(checkpointsOf(resume), l.folder.Checkpoints())); err != nil {
		return nil, err
	}
	if err := l.fetchInputs(ctx, spec); err != nil {
		return nil, err
	}
	if err := l.fetchCheckpoint(ctx, resume); err != nil {
		return nil, err
	}
	// What an earlier launch made is made again; a mixture would not match its manifest.
	if err := os.RemoveAll(l.folder.Out()); err != nil {
		return nil, diskError("prepare", err)
	}
	if err := os.MkdirAll(l.folder.Out(), 0o700); err != nil {
		return nil, diskError("prepare", err)
	}
	l.fill(spec, resume)
	return spec, nil
}

func (l *launch) fill(spec *contract.RunSpec, resume *contract.Manifest) {
	spec.Version = 1
	spec.RunID, spec.Epoch = l.id, l.epoch
	spec.ModelsDir = l.s.Scratch.Models()
	spec.CheckpointsDir, spec.OutputDir = l.folder.Checkpoints(), l.folder.Out()
	spec.LeaseFile, spec.LeaseSeconds = l.dir.path(leaseFile), leaseSeconds
	spec.ResumeFrom = ""
	if resume != nil {
		spec.ResumeFrom = l.folder.Checkpoint(resume.Name)
	}
	if spec.Threads == 0 {
		spec.Threads = l.s.Threads
	}
	if spec.Device == "" {
		spec.Device = "auto"
	}
}

// inputsOf is what all that the spec names takes.
func inputsOf(spec *contract.RunSpec) int64 {
	var size int64
	if spec.Dataset != nil {
		size += spec.Dataset.Train.Size + spec.Dataset.Eval.Size
	}
	for _, file := range spec.Model.Files {
		size += file.Size
	}
	if spec.Adapter != nil {
		for _, file := range spec.Adapter.Files {
			size += file.Size
		}
	}
	return size
}

// checkpointsOf is what checkpoints of this one's size take: the last two, the best, and the one being written.
func checkpointsOf(one *contract.Manifest) (size int64) {
	if one == nil {
		return 0
	}
	for _, file := range one.Files {
		size += 4 * file.Size
	}
	return size
}

// fetchInputs gets datasets, weights and an uploaded base by digest.
func (l *launch) fetchInputs(ctx context.Context, spec *contract.RunSpec) error {
	inputs := []*contract.Input{}
	if spec.Dataset != nil {
		inputs = append(inputs, &spec.Dataset.Train, &spec.Dataset.Eval)
	}
	if spec.Adapter != nil {
		inputs = append(inputs, spec.Adapter)
	}
	for _, input := range inputs {
		path, err := FetchInput(ctx, l.log, l.gate.Blobs(), *input, l.folder.Data())
		if err != nil {
			return err
		}
		input.Path = path
	}
	base, err := FetchInput(ctx, l.log, l.gate.Blobs(), contract.Input{Files: spec.Model.Files}, l.folder.Data())
	spec.Model.Path = base
	return err
}

// FetchInput brings content into folder and returns its path: a file, or a folder of files by their names. An empty
// input has an empty path.
func FetchInput(ctx context.Context, log *slog.Logger, source gatewayclient.BlobSource, input contract.Input, folder string) (string, error) {
	if len(input.Files) > 0 {
		name, err := folderName(input.Files)
		if err != nil {
			return "", err
		}
		path := filepath.Join(folder, name)
		return path, fetchFolder(ctx, log, source, input.Files, path)
	}
	if input.SHA256 == "" {
		return "", nil
	}
	if !gatewayclient.ValidDigest(input.SHA256) {
		return "", contract.Errorf(contract.CodeInvalid, "%q is not a sha256 digest", input.SHA256)
	}
	path := filepath.Join(folder, input.SHA256)
	return path, gatewayclient.Fetch(ctx, log, source, contract.FileInfo{SHA256: input.SHA256, Size: input.Size}, path)
}

// folderName derives a folder's name from all that is in it.
func folderName(files []contract.FileInfo) (string, error) {
	parts := []string{}
	for _, file := range files {
		if err := checkFile(file); err != nil {
			return "", err
		}
		parts = append(parts, file.Path, file.SHA256)
	}
	return contract.DerivedID("folder_", parts...), nil
}

func fetchFolder(ctx context.Context, log *slog.Logger, source gatewayclient.BlobSource, files []contract.FileInfo, folder string) error {
	for _, file := range files {
		if err := checkFile(file); err != nil {
			return err
		}
		if err := gatewayclient.Fetch(ctx, log, source, file, filepath.Join(folder, filepath.FromSlash(file.Path))); err != nil {
			return err
		}
	}
	return nil
}

// checkFile refuses a path that leads out of its folder: manifests come over the network.
func checkFile(file contract.FileInfo) error {
	if !filepath.IsLocal(filepath.FromSlash(file.Path)) || strings.Contains(file.Path, `\`) || file.Path == "." {
		return contract.Errorf(contract.CodeInvalid, "%q is not a path inside a folder", file.Path)
	}
	if !gatewayclient.ValidDigest(file.SHA256) || file.Size < 0 {
		return contract.Errorf(contract.CodeInvalid, "the digest or size of %q is malformed", file.Path)
	}
	return nil
}

// start writes the spec and starts a detached runner. The older launches are fenced first: one of them may have a runner
// that nobody knows of.
func (l *launch) start(ctx context.Context, spec contract.RunSpec) error {
	if err := fence(l.folder, l.id, l.s.Worker, l.epoch); err != nil {
		return err
	}
	if err := writeJSON(l.dir.path(specFile), spec); err != nil {
		return err
	}
	l.lease = contract.Lease{RunID: l.id, Epoch: l.epoch, Worker: l.s.Worker, At: time.Now()}
	if err := writeJSON(l.dir.path(leaseFile), l.lease); err != nil {
		return err
	}
	process, err := l.s.Start(ctx, Launch{
		Args:   []string{"run", l.dir.path(specFile)},
		Folder: string(l.dir),
		Env:    environOf(spec),
	})
	if err != nil {
		return err
	}
	l.process, l.witnessed = process, true
	l.lease.PID, l.lease.PIDStart = process.PID, process.Start
	if err := writeJSON(l.dir.path(leaseFile), l.lease); err != nil {
		return errors.Join(fmt.Errorf("runner %d started but has no lease: %w", process.PID, err), process.killAndWait(killPatience))
	}
	l.log.Info("runner started", "pid", process.PID, "resume_from", filepath.Base(spec.ResumeFrom))
	return nil
}
