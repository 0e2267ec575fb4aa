package datadir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// errHeld is returned by tryLock when another process holds the lock.
var errHeld = errors.New("held by another process")

// A look at a lock (Owner) holds it for an instant; a lock that stays taken for longer than this has a real owner.
const (
	lockPatience = 300 * time.Millisecond
	lockPoll     = 20 * time.Millisecond
)

// Lock is the ownership of a name in a data folder. The system drops it when its process ends, however it ends.
type Lock struct{ file *os.File }

// Lock takes the ownership of a name, such as a Process or "worker-0". If another process has it the error is
// CodeInUse and names that process.
func (d *Dir) Lock(name string) (*Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	return d.LockWait(ctx, name)
}

// LockWait is Lock, but waits for the present owner to end until the context does.
func (d *Dir) LockWait(ctx context.Context, name string) (*Lock, error) {
	if err := checkName("lock", name); err != nil {
		return nil, err
	}
	for {
		lock, err := acquire(d.lockPath(name))
		if !errors.Is(err, errHeld) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, d.inUse(name)
		case <-time.After(lockPoll):
		}
	}
}

// Release gives the ownership back. Releasing twice is harmless.
func (l *Lock) Release() { _ = l.file.Close() }

// Owner returns the pid that holds a name; held is false if nobody does. The pid is 0 if the owner has not written
// it yet.
func (d *Dir) Owner(name string) (pid int, held bool) {
	file, err := os.OpenFile(d.lockPath(name), os.O_RDWR, fileMode)
	if err != nil {
		return 0, false
	}
	defer func() { _ = file.Close() }()
	if err := tryLock(file); !errors.Is(err, errHeld) {
		return 0, false
	}
	return readPID(d.lockPath(name)), true
}

// Owners lists the names that are held, with the pid of each owner.
func (d *Dir) Owners() (map[string]int, error) {
	paths, err := filepath.Glob(d.join("run", "*.lock"))
	if err != nil {
		return nil, fmt.Errorf("list locks: %w", err)
	}
	owners := map[string]int{}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".lock")
		if pid, held := d.Owner(name); held {
			owners[name] = pid
		}
	}
	return owners, nil
}

func (d *Dir) lockPath(name string) string { return d.join("run", name+".lock") }

func acquire(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, unusable(path, err)
	}
	if err := tryLock(file); err != nil {
		_ = file.Close()
		return nil, err
	}
	// The pid is for people; a failure to write it must not cost the lock.
	if err := file.Truncate(0); err == nil {
		_, _ = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: file}, nil
}

func (d *Dir) inUse(name string) error {
	owner := "another process"
	stop := "stop it"
	if pid := readPID(d.lockPath(name)); pid > 0 {
		owner = fmt.Sprintf("process %d", pid)
		stop = fmt.Sprintf("stop it (kill %d)", pid)
	}
	return contract.Errorf(contract.CodeInUse, "data folder %s is in use: %s runs `vibeflow %s` on it",
		d.root, owner, strings.SplitN(name, "-", 2)[0]).
		Mend("%s, or name another folder with --data", stop)
}

func readPID(path string) int {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		return 0
	}
	return pid
}
