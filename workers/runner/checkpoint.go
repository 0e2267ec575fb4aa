package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
)

// readCheckpoint returns the manifest of a complete checkpoint folder, its files not yet verified.
func readCheckpoint(folder RunFolder, name string) (contract.Manifest, error) {
	var manifest contract.Manifest
	if !validCheckpointName(name) {
		return manifest, fmt.Errorf("%q is not the name of a checkpoint", name)
	}
	if err := readJSON(filepath.Join(folder.Checkpoint(name), manifestFile), &manifest); err != nil {
		return manifest, err
	}
	if manifest.Name != name || len(manifest.Files) == 0 {
		return manifest, fmt.Errorf("the manifest of checkpoint %s is not its own", name)
	}
	for _, file := range manifest.Files {
		if err := checkFile(file); err != nil {
			return manifest, err
		}
	}
	return manifest, nil
}

// verifyCheckpoint compares every file with the manifest.
func verifyCheckpoint(folder string, manifest contract.Manifest) error {
	for _, file := range manifest.Files {
		sum, err := gatewayclient.HashFile(filepath.Join(folder, filepath.FromSlash(file.Path)))
		if err != nil {
			return fmt.Errorf("checkpoint %s: %w", manifest.Name, err)
		}
		if sum != file.SHA256 {
			return fmt.Errorf("checkpoint %s: %s is not what its manifest says", manifest.Name, file.Path)
		}
	}
	return nil
}

// localCheckpoints are the whole ones, newest first.
func localCheckpoints(folder RunFolder) []contract.Manifest {
	entries, err := os.ReadDir(folder.Checkpoints())
	if err != nil {
		return nil
	}
	var whole []contract.Manifest
	for _, entry := range entries {
		manifest, err := readCheckpoint(folder, entry.Name())
		if err == nil && verifyCheckpoint(folder.Checkpoint(entry.Name()), manifest) == nil {
			whole = append(whole, manifest)
		}
	}
	slices.SortFunc(whole, func(a, b contract.Manifest) int { return cmp.Compare(b.Step, a.Step) })
	return whole
}

// fetchCheckpoint makes a committed checkpoint whole on this machine. One that the gateway cannot give whole is marked,
// and the run looks for an older one.
func (l *launch) fetchCheckpoint(ctx context.Context, manifest *contract.Manifest) error {
	if manifest == nil {
		return nil
	}
	if !validCheckpointName(manifest.Name) {
		return contract.Errorf(contract.CodeInternal, "the gateway names a checkpoint %q", manifest.Name)
	}
	folder := l.folder.Checkpoint(manifest.Name)
	local, err := readCheckpoint(l.folder, manifest.Name)
	if err == nil && sameFiles(local, *manifest) && verifyCheckpoint(folder, local) == nil {
		return nil
	}
	err = l.download(ctx, *manifest, folder)
	if err == nil || ctx.Err() != nil || !lost(err) {
		return err
	}
	l.log.Error("a committed checkpoint is damaged, an older one is used", "checkpoint", manifest.Name, "error", err)
	l.unusable[manifest.Name] = err.Error()
	return errAgain
}

// lost tells content that the gateway does not have any more, or not as it was, from trouble of this machine or moment. The
// gateway checks all that it reads: what arrives with another digest, again and again, was changed on its way or by this
// machine's disk or memory, which must not have good checkpoints forgotten. The attempt ends, and the next one tries again.
func lost(err error) bool {
	switch contract.CodeOf(err) {
	case contract.CodeNotFound, contract.CodeBadData, contract.CodeInvalid:
		return true
	default:
		return false
	}
}

// download fetches into a folder of another name and renames it, as the runner does: a checkpoint is whole or not there.
func (l *launch) download(ctx context.Context, manifest contract.Manifest, folder string) error {
	partial := filepath.Join(l.folder.Checkpoints(), ".fetch-"+manifest.Name)
	if err := fetchFolder(ctx, l.log, l.gate.Blobs(), manifest.Files, partial); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(partial, manifestFile), manifest); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return diskError("replace checkpoint", err)
	}
	return diskError("place checkpoint", os.Rename(partial, folder))
}

func sameFiles(a, b contract.Manifest) bool {
	byPath := func(x, y contract.FileInfo) int { return cmp.Compare(x.Path, y.Path) }
	return slices.Equal(slices.SortedFunc(slices.Values(a.Files), byPath), slices.SortedFunc(slices.Values(b.Files), byPath))
}

// commit uploads a checkpoint and has the gateway take its manifest. Nil when the checkpoint is gone or damaged: the
// runner prunes old ones, and a newer one follows.
func (l *launch) commit(ctx context.Context, name string) error {
	manifest, err := readCheckpoint(l.folder, name)
	if err != nil {
		l.log.Warn("checkpoint passed over", "checkpoint", name, "error", err)
		return nil
	}
	for _, file := range manifest.Files {
		path := filepath.Join(l.folder.Checkpoint(name), filepath.FromSlash(file.Path))
		if err := gatewayclient.Upload(ctx, l.log, l.gate, path, file); err != nil {
			return l.excuse(name, err)
		}
	}
	err = l.patiently(ctx, "commit checkpoint", func(ctx context.Context) error {
		return l.gate.PutCheckpoint(ctx, manifest)
	})
	if err != nil {
		return l.excuse(name, err)
	}
	l.committed = &manifest
	l.log.Info("checkpoint committed", "checkpoint", name, "step", manifest.Step)
	return nil
}

// excuse lets a checkpoint go that cannot be committed, and keeps errors that concern the whole launch.
func (l *launch) excuse(name string, err error) error {
	code := contract.CodeOf(err)
	if errors.Is(err, os.ErrNotExist) || code == contract.CodeInvalid || code == contract.CodeTooLarge || code == contract.CodeConflict {
		l.log.Warn("checkpoint passed over", "checkpoint", name, "error", err)
		return nil
	}
	return err
}

// withoutSamples takes what is large out of an evaluation's metrics: they are in the log and the artifact store.
func withoutSamples(metrics json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(metrics, &fields) != nil {
		return nil
	}
	delete(fields, "samples")
	small, _ := json.Marshal(fields) // raw JSON that was just read encodes
	return small
}
