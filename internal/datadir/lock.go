package datadir

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/filelock"
)

// A look at a lock (Owner) holds it for an instant; a lock that stays taken for longer than this has a real owner.
const lockPatience = 300 * time.Millisecond

// LockBackup is held while a backup is made: no stored object is deleted then. It owns nothing.
const LockBackup = "backup"

// Lock takes the ownership of a name, such as a Process or "worker-0". If another process has it the error is
// CodeInUse and names that process.
func (d *Dir) Lock(name string) (*filelock.Lock, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	return d.LockWait(ctx, name)
}

// LockWait is Lock, but waits for the present owner to end until the context does.
func (d *Dir) LockWait(ctx context.Context, name string) (*filelock.Lock, error) {
	if err := checkName("lock", name); err != nil {
		return nil, err
	}
	lock, err := filelock.Wait(ctx, d.lockPath(name))
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return nil, d.inUse(name)
	case err != nil:
		return nil, unusable(d.lockPath(name), err)
	}
	return lock, nil
}

// Owner returns the pid that holds a name; held is false if nobody does. The pid is 0 if the owner has not written
// it yet.
func (d *Dir) Owner(name string) (pid int, held bool) { return filelock.Owner(d.lockPath(name)) }

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

func (d *Dir) inUse(name string) error {
	owner, stop := "another process", "stop it"
	if pid := filelock.ReadPID(d.lockPath(name)); pid > 0 {
		owner, stop = fmt.Sprintf("process %d", pid), fmt.Sprintf("stop it (kill %d)", pid)
	}
	process, _, _ := strings.Cut(name, "-")
	return contract.Errorf(contract.CodeInUse, "data folder %s is in use: %s runs `vibeflow %s` on it",
		d.root, owner, process).Mend("%s, or name another folder with --data", stop)
}
