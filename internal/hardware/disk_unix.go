//go:build unix

package hardware

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DiskOf returns the file system that holds path, or its nearest folder that exists.
func DiskOf(path string) Disk {
	found := Disk{Path: path}
	dir, err := filepath.Abs(path)
	if err != nil {
		return found
	}
	var stat unix.Statfs_t
	for unix.Statfs(dir, &stat) != nil {
		parent := filepath.Dir(dir)
		if parent == dir {
			return found
		}
		dir = parent
	}
	size := uint64(stat.Bsize) //nolint:gosec // a block size is positive
	found.Total, found.Free = stat.Blocks*size, stat.Bavail*size
	return found
}
