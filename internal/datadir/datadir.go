// Package datadir is the layout of VibeFlow's data folder: where each process keeps its files, which process owns
// them, the secrets that they share and the addresses that they publish.
//
//	<root>/                    0700
//	├─ .vibeflow-data          marks the folder as ours and names its layout
//	├─ backup.json             how the last backup went; restored.json: which one the folder was made of
//	├─ temporal/temporal.db    Temporal's database, its version stamp and its ports      (process temporal)
//	├─ app.db, blobs/, spool/  the application's state, encrypted objects, cut-off-able uploads   (process server)
//	├─ worker/<instance>/      plain scratch of one worker, wiped when a job ends         (process worker)
//	├─ secrets/                master.key, cli.token, worker.token, temporal.token, jwt.key: 0600
//	├─ run/                    <name>.lock, and the addresses of the processes that are ready
//	└─ logs/                   what the children of `up` wrote to stderr
//
// A folder has one owner of each name at a time (Lock); everything in it is readable by its user alone.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// EnvRoot names the environment variable that overrides the default data folder.
const EnvRoot = "VIBEFLOW_DATA"

// layout is the version of the folder's structure; a folder of a newer layout is refused, not guessed at.
const layout = 1

const (
	dirMode    = 0o700
	fileMode   = 0o600
	marker     = ".vibeflow-data"
	tempPrefix = ".vibeflow-tmp-"
)

var folders = []string{"temporal", blobs, "spool", "worker", "secrets", "run", "logs"}

const blobs = "blobs"

// Dir is an opened data folder. Its methods give absolute paths and are safe for concurrent use by many processes.
type Dir struct{ root string }

// Default is the data folder used when none is named: $VIBEFLOW_DATA, else ~/.vibeflow.
func Default() (string, error) {
	if root := os.Getenv(EnvRoot); root != "" {
		return root, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", contract.Errorf(contract.CodePrerequisite, "there is no home folder to keep data in: %w", err).
			Mend("name a data folder with --data or %s", EnvRoot)
	}
	return filepath.Join(home, ".vibeflow"), nil
}

// Open makes the folder's layout where it is missing and returns it; blobs/ is left to who stores the first file, for it may
// be missing because its disk is not mounted. It refuses (CodePrerequisite) a folder that cannot be written, one that holds
// something else, and one of a newer layout.
func Open(path string) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "data folder %q: %w", path, err).On("data")
	}
	if err := os.MkdirAll(root, dirMode); err != nil {
		return nil, unusable(root, err)
	}
	if err := claim(root); err != nil {
		return nil, err
	}
	for _, dir := range append([]string{"."}, folders...) {
		path := filepath.Join(root, dir)
		if _, err := os.Stat(path); dir == blobs && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := makePrivate(path); err != nil {
			return nil, unusable(root, err)
		}
	}
	return &Dir{root: root}, nil
}

// NotRunning is what a client is told where no server has published its address.
func (d *Dir) NotRunning() error {
	return contract.Errorf(contract.CodeUnavailable, "VibeFlow is not running on %s", d.root).
		Mend("start it with `%s`", startCommand(d.root))
}

// Root is the folder's absolute path.
func (d *Dir) Root() string { return d.root }

// TemporalDir is the embedded Temporal server's own folder.
func (d *Dir) TemporalDir() string { return d.join("temporal") }

// TemporalDB is the embedded Temporal server's database file.
func (d *Dir) TemporalDB() string { return d.join("temporal", "temporal.db") }

// AppDB is the application's database file; only the server process opens it.
func (d *Dir) AppDB() string { return d.join("app.db") }

// Blobs is the root of the local object store.
func (d *Dir) Blobs() string { return d.join(blobs) }

// Spool holds uploads of workers under way, sealed. It may be emptied at start: they begin again.
func (d *Dir) Spool() string { return d.join("spool") }

// Logs holds the logs of the children of `vibeflow up`.
func (d *Dir) Logs() string { return d.join("logs") }

// WorkerScratch makes and returns the scratch folder of a worker instance. The instance is one path element of
// letters, digits, dots, dashes and underscores.
func (d *Dir) WorkerScratch(instance string) (string, error) {
	if err := checkName("worker instance", instance); err != nil {
		return "", err
	}
	scratch := d.join("worker", instance)
	if err := makePrivate(scratch); err != nil {
		return "", unusable(scratch, err)
	}
	return scratch, nil
}

func (d *Dir) join(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
}

// Find opens a data folder that is there, and makes and changes nothing. Errors: CodeUnavailable where VibeFlow has never
// been started, CodePrerequisite as Open.
func Find(path string) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "data folder %q: %w", path, err).On("data")
	}
	claimed, err := Examine(root)
	if err != nil {
		return nil, err
	}
	if !claimed {
		return nil, neverStarted(root)
	}
	return &Dir{root: root}, nil
}

func neverStarted(root string) error {
	return contract.Errorf(contract.CodeUnavailable, "there is no VibeFlow in %s yet", root).
		Mend("start it with `%s` and use another terminal for this command, or see it work first with `vibeflow demo`; "+
			"one that is elsewhere is named with --data", startCommand(root))
}

// startCommand is how a user starts VibeFlow on a folder.
func startCommand(root string) string {
	if usual, err := Default(); err == nil && usual == root {
		return "vibeflow up"
	}
	return "vibeflow up --data " + root
}

// Examine tells whether a folder has been marked as a data folder, changing nothing. It refuses (CodePrerequisite) what
// Open would not take: a folder that something else lives in, one of a newer layout, one that cannot be read.
func Examine(root string) (claimed bool, err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unusable(root, err)
	}
	if err := halfRestored(root, entries); err != nil {
		return false, err
	}
	// The marker is read after the listing: another process may be creating the folder at this moment, and it
	// writes its marker before anything else.
	content, err := os.ReadFile(filepath.Join(root, marker))
	switch {
	case err == nil:
		return true, checkLayout(root, content)
	case !errors.Is(err, fs.ErrNotExist):
		return false, unusable(root, err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".vibeflow-") {
			return false, contract.Errorf(contract.CodePrerequisite,
				"%s holds other files (%s) and is not a VibeFlow data folder", root, entry.Name()).On("data").
				Mend("name an empty or a new folder with --data")
		}
	}
	return false, nil
}

// claim marks an empty folder as a data folder, and refuses to take over one that something else lives in.
func claim(root string) error {
	if claimed, err := Examine(root); claimed || err != nil {
		return err
	}
	content, err := json.Marshal(map[string]int{"layout": layout})
	if err != nil {
		return fmt.Errorf("encode the data folder's marker: %w", err)
	}
	if err := WriteFile(filepath.Join(root, marker), append(content, '\n')); err != nil {
		return unusable(root, err)
	}
	return nil
}

func checkLayout(root string, content []byte) error {
	var mark struct{ Layout int }
	if err := json.Unmarshal(content, &mark); err != nil || mark.Layout < 1 {
		return contract.Errorf(contract.CodePrerequisite, "%s is damaged", filepath.Join(root, marker)).
			Mend("restore the folder from a backup, or name another one with --data")
	}
	if mark.Layout > layout {
		return contract.Errorf(contract.CodePrerequisite,
			"%s was made by a newer VibeFlow (layout %d, this one knows %d)", root, mark.Layout, layout).
			Mend("upgrade VibeFlow, or name another folder with --data")
	}
	return nil
}

// makePrivate makes dir if needed and takes the permissions of everybody else away.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return os.Chmod(dir, dirMode)
}

func unusable(path string, err error) error {
	return contract.Errorf(contract.CodePrerequisite, "the data folder cannot be used: %w", err).On("data").
		Mend("make %s writable for this user, or name another folder with --data", path)
}

var namePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`)

// checkName refuses a name that would not be one harmless path element.
func checkName(what, name string) error {
	if !namePattern.MatchString(name) {
		return contract.Errorf(contract.CodeInvalid, "%s %q is not a plain name", what, name).
			Mend("use letters, digits, dots, dashes and underscores, 64 at most")
	}
	return nil
}

// WriteFile puts content at path so that a reader, or a machine that loses power, sees the old file or the new one
// and never a part. The file's mode is 0600.
func WriteFile(path string, content []byte) error {
	temp, err := writeTemp(filepath.Dir(path), content)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// writeTemp writes and syncs a temporary file in dir and returns its path; os.CreateTemp makes it 0600.
func writeTemp(dir string, content []byte) (path string, err error) {
	file, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return "", err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		_ = os.Remove(file.Name())
		return "", err
	}
	return file.Name(), nil
}

// SyncDir has the disk keep the names in a folder, as file.Sync does its content.
func SyncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(handle.Sync(), handle.Close())
}
