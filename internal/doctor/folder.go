package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// checkDataFolder looks at what the folder is, whose it is, whether it can be written, and that it is its user's alone.
func checkDataFolder(options Options) Check {
	root := options.DataDir
	check := Check{Name: "data folder", Status: OK, Found: root}
	info, err := os.Stat(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkParent(check, root)
	case err != nil:
		check.Status, check.Found, check.Remedy = Fail, err.Error(), otherFolder
		return check
	case !info.IsDir():
		check.Status, check.Found, check.Remedy = Fail, root+" is not a folder", otherFolder
		return check
	}
	if _, err := datadir.Examine(root); err != nil {
		return failed(check.Name, err)
	}
	paths := within(root)
	if owner, path := strangers(paths, options.uid()); owner != "" {
		check.Status, check.Found = Fail, fmt.Sprintf("%s belongs to the user %s", path, owner)
		check.Remedy = fmt.Sprintf("run VibeFlow as %s, or %s", owner, otherFolder)
		return check
	}
	if err := writable(paths); err != nil {
		check.Status, check.Found, check.Remedy = Fail, err.Error(), "make it writable for this user, or "+otherFolder
		return check
	}
	if open := openToOthers(root); len(open) > 0 {
		check.Status = Fail
		check.Found = "other users of this machine may read " + strings.Join(open, ", ")
		check.Remedy = "chmod go-rwx " + strings.Join(open, " ")
	}
	return check
}

// checkStorage looks whether the stored files are there: their folder may be a disk of its own. The server marks it at its
// first start.
func checkStorage(options Options) Check {
	blobs := filepath.Join(options.DataDir, "blobs")
	check := Check{Name: "stored files", Status: OK, Found: blobs}
	if _, err := os.Stat(filepath.Join(options.DataDir, "app.db")); err != nil {
		check.Found += " (will be made)"
		return check
	}
	if _, err := os.Stat(filepath.Join(blobs, artifact.Mark)); err != nil {
		check.Status, check.Found = Fail, fmt.Sprintf("%s is not the folder of the stored files: it has no file %q", blobs, artifact.Mark)
		check.Remedy = "mount their disk, or put their folder back; where they are lost, restore a backup into a new data folder"
	}
	return check
}

const otherFolder = "name another folder with --data"

// checkParent is for a data folder that is still to be made.
func checkParent(check Check, root string) Check {
	check.Found += " (will be made)"
	parent, err := filepath.Abs(root)
	info := fs.FileInfo(nil)
	for info == nil && err == nil {
		parent = filepath.Dir(parent)
		if info, err = os.Stat(parent); errors.Is(err, fs.ErrNotExist) && parent != filepath.Dir(parent) {
			err = nil
		}
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a folder", parent)
	}
	if err == nil {
		err = accessible(parent, writeAndSearch)
	}
	if err != nil {
		check.Status, check.Found = Fail, fmt.Sprintf("%s cannot be made: %v", root, err)
		check.Remedy = otherFolder + ", in a folder that you may write"
	}
	return check
}

// within lists the folder and what processes open in it, less the many files of blobs/ and worker/.
func within(root string) []string {
	paths := []string{root}
	for _, pattern := range []string{"*", "temporal/*", "secrets/*", "run/*", "logs/*", "worker/*"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern)) // the patterns are valid
		paths = append(paths, found...)
	}
	return paths
}

// strangers finds the first path that belongs to another user, as after a start with sudo.
func strangers(paths []string, uid int) (owner, path string) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
			return userName(int(stat.Uid)), path
		}
	}
	return "", ""
}

func userName(uid int) string {
	if known, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return known.Username
	}
	return strconv.Itoa(uid)
}

const (
	read           = 0x4
	writeAndSearch = 0x2 | 0x1
	readAndWrite   = 0x4 | 0x2
)

func writable(paths []string) error {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			continue // it was there a moment ago
		}
		need := uint32(readAndWrite)
		switch {
		case info.IsDir():
			need = writeAndSearch
		case filepath.Base(filepath.Dir(path)) == "secrets":
			need = read
		}
		if err := accessible(path, need); err != nil {
			return err
		}
	}
	return nil
}

// accessible asks the system rather than trying, so that nothing is changed.
func accessible(path string, need uint32) error {
	if err := syscall.Access(path, need); err != nil {
		verb := "written"
		if need == read {
			verb = "read"
		}
		return fmt.Errorf("%s cannot be %s: %w", path, verb, err)
	}
	return nil
}

func openToOthers(root string) (open []string) {
	paths := []string{root}
	secrets, _ := filepath.Glob(filepath.Join(root, "secrets", "*")) // the pattern is valid
	for _, path := range append(paths, secrets...) {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			open = append(open, path)
		}
	}
	return open
}
