package backup

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// folder keeps backups of one installation, with their objects beside them.
type folder struct {
	path    string
	objects map[string]file // by object id; Name is the file's in objects/
}

const (
	folderMarker  = ".vibeflow-backups.json"
	objectsFolder = "objects"
	listSuffix    = ".objects"
)

// openFolder makes or opens a folder of backups. It refuses one of another installation, whose backups it would count as its
// own, and removes what a kill has left.
func openFolder(path, installation string) (*folder, error) {
	f := &folder{path: path, objects: map[string]file{}}
	if err := os.MkdirAll(filepath.Join(path, objectsFolder), 0o700); err != nil {
		return nil, diskError("make the folder "+path, err)
	}
	if err := f.claim(installation); err != nil {
		return nil, err
	}
	for _, pattern := range []string{"*" + partSuffix, filepath.Join(objectsFolder, "*"+partSuffix)} {
		left, _ := filepath.Glob(filepath.Join(path, pattern)) // the pattern is valid
		for _, leftover := range left {
			if err := os.Remove(leftover); err != nil {
				return nil, diskError("remove what an interrupted backup left", err)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Join(path, objectsFolder))
	if err != nil {
		return nil, diskError("look into "+path, err)
	}
	for _, entry := range entries {
		id, digest, ok := strings.Cut(entry.Name(), ".")
		info, err := entry.Info()
		if ok && err == nil && len(digest) == hex.EncodedLen(sha256.Size) {
			f.objects[id] = file{Name: entry.Name(), Size: info.Size(), SHA256: digest}
		}
	}
	return f, nil
}

func (f *folder) claim(installation string) error {
	marker := filepath.Join(f.path, folderMarker)
	var mark struct {
		Installation string `json:"installation"`
	}
	content, err := os.ReadFile(marker)
	if errors.Is(err, fs.ErrNotExist) {
		mark.Installation = installation
		content, err := json.Marshal(mark)
		if err != nil {
			return err
		}
		return diskError("make the folder "+f.path, datadir.WriteFile(marker, append(content, '\n')))
	}
	if err == nil {
		err = json.Unmarshal(content, &mark)
	}
	if err != nil {
		return diskError("read "+marker, err)
	}
	if mark.Installation != installation {
		return contract.Errorf(contract.CodeConflict, "%s has backups of another VibeFlow", f.path).On("to").Mend("name another folder")
	}
	return nil
}

// has tells whether the folder has an object. What it has is what a backup before this one wrote and synced; a restore
// compares its content with the digest in its name.
func (f *folder) has(o object) bool {
	kept, ok := f.objects[o.id]
	return ok && kept.Size == o.size
}

// keep stores the objects that are not there yet, and writes down which the archive needs.
func (f *folder) keep(ctx context.Context, r *run, a *archive) error {
	names := make([]string, 0, len(r.objects))
	for _, o := range r.objects {
		if !f.has(o) {
			kept, err := f.store(ctx, r, o)
			if err != nil {
				return err
			}
			f.objects[o.id] = kept
		}
		kept := f.objects[o.id]
		names = append(names, kept.Name)
		a.manifest.Files = append(a.manifest.Files, file{objectsPrefix + kept.Name, kept.Size, kept.SHA256})
	}
	if err := datadir.SyncDir(filepath.Join(f.path, objectsFolder)); err != nil {
		return diskError("write the backup", err)
	}
	return diskError("write the backup", datadir.WriteFile(listOf(a.path), []byte(strings.Join(append(names, ""), "\n"))))
}

// store copies one object. Its name has its digest, so it is known last.
func (f *folder) store(ctx context.Context, r *run, o object) (kept file, err error) {
	part := filepath.Join(f.path, objectsFolder, o.id+partSuffix)
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return kept, diskError("write the backup", err)
	}
	sum := sha256.New()
	err = r.copyObject(o, io.MultiWriter(sum, &counted{ctx, out, r.wrote}))
	if err = errors.Join(err, out.Sync(), out.Close()); err == nil {
		kept = file{Size: o.size, SHA256: hex.EncodeToString(sum.Sum(nil))}
		kept.Name = o.id + "." + kept.SHA256
		err = os.Rename(part, filepath.Join(f.path, objectsFolder, kept.Name))
	}
	if err != nil {
		_ = os.Remove(part)
	}
	return kept, diskError("back up a stored file", err)
}

// listOf is where the names of an archive's objects stand.
func listOf(archive string) string {
	return strings.TrimSuffix(strings.TrimSuffix(archive, ".age"), plainSuffix) + listSuffix
}

// archives lists a folder's, oldest first.
func archives(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, archivePrefix) && (strings.HasSuffix(name, plainSuffix) || strings.HasSuffix(name, sealedSuffix)) {
			found = append(found, filepath.Join(path, name))
		}
	}
	slices.Sort(found) // by time, which the name has
	return found, nil
}

// prune removes all but the newest archives, and the objects that none of those left needs.
func (f *folder) prune(keep int) (removed []string, err error) {
	all, err := archives(f.path)
	if err != nil || keep <= 0 || len(all) <= keep {
		return nil, err
	}
	removed = all[:len(all)-keep]
	for _, path := range removed {
		if err := errors.Join(os.Remove(path), removeIfThere(listOf(path))); err != nil {
			return removed, err
		}
	}
	return removed, f.sweep(all[len(all)-keep:])
}

// sweep removes objects that no archive needs. An archive whose list is gone may need any.
func (f *folder) sweep(left []string) error {
	needed := map[string]bool{}
	for _, path := range left {
		list, err := os.Open(listOf(path))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(list)
		for lines.Scan() {
			needed[lines.Text()] = true
		}
		if err := errors.Join(lines.Err(), list.Close()); err != nil {
			return err
		}
	}
	for _, kept := range f.objects {
		if needed[kept.Name] {
			continue
		}
		if err := removeIfThere(filepath.Join(f.path, objectsFolder, kept.Name)); err != nil {
			return err
		}
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// newest finds a folder's newest archive.
func newest(path string) (string, error) {
	all, err := archives(path)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", contract.Errorf(contract.CodeNotFound, "%s has no backup", path).On("file").
			Mend("name a file that `vibeflow backup` made, or the folder that it wrote to")
	}
	return all[len(all)-1], nil
}
