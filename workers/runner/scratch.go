package runner

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Names of files in a launch's folder: docs/runner-protocol.md.
const (
	specFile   = "spec.json"
	leaseFile  = "lease.json"
	eventsFile = "events.ndjson"
	stderrFile = "stderr.log"
	resultFile = "result.json"
)

const manifestFile = "manifest.json"

// jsonLimit bounds a JSON file that a runner wrote.
const jsonLimit = 64 << 20

// Scratch is a worker's folder, owned by one process at a time.
type Scratch struct {
	Root string
	// Instance names the folder over all its starts, Boot this one.
	Instance string
	Boot     string
	lock     *os.File
}

// OpenScratch takes the folder at root, which it makes if need be. CodeInUse says that another worker has it.
func OpenScratch(root string) (*Scratch, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	for _, folder := range []string{root, filepath.Join(root, "runs"), filepath.Join(root, "models"), filepath.Join(root, "engines")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("scratch folder: %w", err)
		}
	}
	// The folder may be older than this worker, and wider.
	if err := os.Chmod(root, 0o700); err != nil { //nolint:gosec // a folder needs its x bit
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	lock, err := takeLock(filepath.Join(root, "lock"))
	if err != nil {
		return nil, err
	}
	s := &Scratch{Root: root, Boot: randomName(), lock: lock}
	if err := s.sweepTokens(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.Instance, err = nameOnce(filepath.Join(root, "instance")); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := writeFileAtomically(filepath.Join(root, "boot"), []byte(s.Boot)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// takeLock locks a file for as long as this process lives; children do not inherit it (Go opens close-on-exec).
func takeLock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("scratch lock: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return file, nil
	}
	err = errors.Join(err, file.Close())
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, contract.Errorf(contract.CodeInUse, "another worker has the scratch folder %s", filepath.Dir(path)).
			Mend("stop that worker, or give this one another folder")
	}
	return nil, fmt.Errorf("scratch lock: %w", err)
}

// nameOnce returns the name that the file holds, or one that it makes up and keeps.
func nameOnce(path string) (string, error) {
	if data, err := os.ReadFile(path); err == nil && instancePattern.Match(data) {
		return string(data), nil
	}
	name := randomName()
	return name, writeFileAtomically(path, []byte(name))
}

var instancePattern = regexp.MustCompile(`^[0-9a-f]{12}$`)

func randomName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// Close lets another worker have the folder. The lock is given back by name: a child that is just being forked holds the
// file too, until it has become another program.
func (s *Scratch) Close() error {
	return errors.Join(unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}

// Models is where resolved base models are cached.
func (s *Scratch) Models() string { return filepath.Join(s.Root, "models") }

// Engines is where serving processes have their folders.
func (s *Scratch) Engines() string { return filepath.Join(s.Root, "engines") }

var runIDPattern = regexp.MustCompile(`^[a-z]{1,12}_[0-9A-Za-z]{1,64}$`)

// Run returns the folder of a run. An id that is not one of ours never becomes a path: CodeInvalid.
func (s *Scratch) Run(id string) (RunFolder, error) {
	if !runIDPattern.MatchString(id) {
		return "", contract.Errorf(contract.CodeInvalid, "%q is not the id of a run", id)
	}
	return RunFolder(filepath.Join(s.Root, "runs", id)), nil
}

// Runs lists the ids of runs that have a folder.
func (s *Scratch) Runs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.Root, "runs"))
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() && runIDPattern.MatchString(entry.Name()) {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// RunFolder is a run's part of the scratch folder.
type RunFolder string

// Checkpoints holds step-NNNNNNNN folders.
func (f RunFolder) Checkpoints() string { return filepath.Join(string(f), "checkpoints") }

// Checkpoint is the folder of one checkpoint; the name has been checked by validCheckpointName.
func (f RunFolder) Checkpoint(name string) string { return filepath.Join(f.Checkpoints(), name) }

// Data holds fetched inputs by digest.
func (f RunFolder) Data() string { return filepath.Join(string(f), "data") }

// Out holds artifacts.
func (f RunFolder) Out() string { return filepath.Join(string(f), "out") }

// Epoch is the folder of one launch.
func (f RunFolder) Epoch(n int64) EpochFolder {
	return EpochFolder(filepath.Join(string(f), "e"+strconv.FormatInt(n, 10)))
}

// Epochs lists the launches that have a folder, oldest first.
func (f RunFolder) Epochs() ([]int64, error) {
	entries, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list launches: %w", err)
	}
	var epochs []int64
	for _, entry := range entries {
		number, ok := strings.CutPrefix(entry.Name(), "e")
		if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil && n > 0 {
			epochs = append(epochs, n)
		}
	}
	slices.Sort(epochs)
	return epochs, nil
}

// Wipe removes all that the run left.
func (f RunFolder) Wipe() error { return os.RemoveAll(string(f)) }

// EpochFolder is the folder of one launch.
type EpochFolder string

func (f EpochFolder) path(name string) string { return filepath.Join(string(f), name) }

// Result reads the runner's last word; nil without an error when it left none.
func (f EpochFolder) Result() (*contract.RunResult, error) {
	var result contract.RunResult
	err := readJSON(f.path(resultFile), &result)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented: a runner may leave no result
	}
	if err != nil {
		return nil, err
	}
	return &result, nil
}

var checkpointPattern = regexp.MustCompile(`^step-[0-9]{8,12}$`)

func validCheckpointName(name string) bool { return checkpointPattern.MatchString(name) }

var artifactPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func validArtifactName(name string) bool { return artifactPattern.MatchString(name) }

func readJSON(path string, out any) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > jsonLimit {
		return fmt.Errorf("%s is larger than %d bytes", path, jsonLimit)
	}
	if err := json.NewDecoder(file).Decode(out); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writeFileAtomically(path, data)
}

// writeFileAtomically leaves either the old content or the new one, of mode 0600, whatever happens.
func writeFileAtomically(path string, data []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return diskError("write", err)
	}
	_, err = file.Write(data)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(diskError("write", err), os.Remove(file.Name()))
	}
	return nil
}

// diskError is what the disk of the scratch folder says.
func diskError(doing string, err error) error {
	return hardware.DiskError("the disk of the worker's scratch folder", doing, err)
}
