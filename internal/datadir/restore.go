package datadir

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/filelock"
)

// restoring marks a folder that a restore is filling, and is its lock: nobody takes such a folder for a data folder.
const restoring = ".vibeflow-restoring"

// restoredFile says which backup a folder was made of.
const restoredFile = "restored.json"

// Restored is which backup a data folder was made of, and when. TakenUp is when a server first went on from it: until then
// launches of the time after the backup have not been fenced.
type Restored struct {
	From     string    `json:"from"`
	BackupAt time.Time `json:"backup_at"`
	At       time.Time `json:"at"`
	TakenUp  time.Time `json:"taken_up,omitzero"`
	Missing  []string  `json:"missing,omitempty"` // ids of stored files that the backup lacked
}

// Restored returns which backup the folder was made of; nil if it was made of none.
func (d *Dir) Restored() (*Restored, error) {
	content, err := os.ReadFile(d.join(restoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	found := &Restored{}
	if err == nil {
		err = json.Unmarshal(content, found)
	}
	if err != nil {
		return nil, contract.Errorf(contract.CodePrerequisite, "%s cannot be read: %w", d.join(restoredFile), err).Mend("restore the backup again")
	}
	return found, nil
}

// SaveRestored writes down which backup the folder was made of.
func (d *Dir) SaveRestored(r Restored) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(d.join(restoredFile), append(content, '\n'))
}

// Restoration is a data folder that is being filled. It is none until Finish.
type Restoration struct {
	*Dir
	lock *filelock.Lock
	made bool // the folder itself
}

// BeginRestore makes a folder to restore into. It takes a folder that does not exist, an empty one, or one that an
// interrupted restore left, which is emptied. Errors: CodeConflict for any other, CodeInUse, CodePrerequisite.
func BeginRestore(path string) (*Restoration, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "data folder %q: %w", path, err).On("data")
	}
	_, err = os.Stat(root)
	r := &Restoration{Dir: &Dir{root: root}, made: errors.Is(err, fs.ErrNotExist)}
	if err := os.MkdirAll(root, dirMode); err != nil {
		return nil, unusable(root, err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, unusable(root, err)
	}
	_, err = os.Stat(r.join(restoring))
	if len(entries) > 0 && err != nil {
		return nil, contract.Errorf(contract.CodeConflict, "%s is not empty (%s): a backup is restored into a new folder", root, entries[0].Name()).On("data").
			Mend("name a folder that does not exist with --data")
	}
	if r.lock, err = filelock.Try(r.join(restoring)); errors.Is(err, filelock.ErrHeld) {
		return nil, contract.Errorf(contract.CodeInUse, "another restore is filling %s", root).On("data").Mend("wait until it has ended, or name another folder")
	} else if err != nil {
		return nil, unusable(root, err)
	}
	if err := r.fill(); err != nil {
		return nil, errors.Join(unusable(root, err), r.Abandon())
	}
	return r, nil
}

func (r *Restoration) fill() error {
	if err := r.empty(); err != nil {
		return err
	}
	for _, dir := range append([]string{"."}, folders...) {
		if err := makePrivate(r.join(dir)); err != nil {
			return err
		}
	}
	return nil
}

// empty removes what a restore makes, and nothing else.
func (r *Restoration) empty() error {
	ours := append([]string{marker, restoredFile}, folders...)
	left, _ := filepath.Glob(r.join("app.db*")) // the pattern is valid
	temps, _ := filepath.Glob(r.join(tempPrefix + "*"))
	for _, path := range append(left, temps...) {
		ours = append(ours, filepath.Base(path))
	}
	for _, name := range ours {
		if err := os.RemoveAll(r.join(name)); err != nil {
			return err
		}
	}
	return nil
}

// Finish makes the folder a data folder, once everything in it is on the disk.
func (r *Restoration) Finish() error {
	defer r.lock.Release()
	content, err := json.Marshal(map[string]int{"layout": layout})
	if err != nil {
		return err
	}
	if err := WriteFile(r.join(marker), append(content, '\n')); err != nil {
		return unusable(r.root, err)
	}
	for _, dir := range append(folders, "blobs/objects", ".") {
		if err := SyncDir(r.join(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unusable(r.root, err)
		}
	}
	if err := os.Remove(r.join(restoring)); err != nil {
		return unusable(r.root, err)
	}
	return SyncDir(r.root)
}

// Abandon removes all that was restored; a folder that was there before stays, empty.
func (r *Restoration) Abandon() error {
	defer r.lock.Release()
	err := errors.Join(r.empty(), os.Remove(r.join(restoring)))
	if r.made && err == nil {
		err = os.Remove(r.root)
	}
	return err
}

// halfRestored refuses a folder that a restore has not finished.
func halfRestored(root string, entries []fs.DirEntry) error {
	for _, entry := range entries {
		if entry.Name() == restoring {
			return contract.Errorf(contract.CodePrerequisite, "a restore into %s has not ended, or was interrupted", root).On("data").
				Mend("run `vibeflow restore FILE --data %s` again: it begins anew there", root)
		}
	}
	return nil
}
