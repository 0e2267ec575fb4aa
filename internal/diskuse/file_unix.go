//go:build unix

package diskuse

import (
	"io/fs"
	"syscall"
)

// link names a file, whatever its paths are.
type link struct{ device, inode uint64 }

// linkOf reports whether other paths may name the same file.
func linkOf(info fs.FileInfo) (l link, shared bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Nlink < 2 {
		return link{}, false
	}
	return link{uint64(stat.Dev), stat.Ino}, true //nolint:unconvert,gosec // Dev has another type on macOS
}

// sizeOf is what a file takes: less than its length if it has holes.
func sizeOf(info fs.FileInfo) int64 {
	const block = 512
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * block
	}
	return info.Size()
}
