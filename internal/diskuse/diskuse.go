// Package diskuse adds up what files take on disk, by kind, without keeping a list of them.
package diskuse

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
)

// Sum is a number of files and the bytes that they take on disk.
type Sum struct{ Files, Bytes int64 }

// Add adds another sum.
func (s *Sum) Add(other Sum) {
	s.Files += other.Files
	s.Bytes += other.Bytes
}

// Measure adds up the files below a folder by the kind of each, which kindOf tells from its path within the folder. A file
// that several names share is counted under the first; links are not followed; what goes or cannot be read meanwhile is left
// out, and so is a folder that is not there. It ends early, with an error, when ctx does.
func Measure(ctx context.Context, root string, kindOf func(path string) string) (map[string]Sum, error) {
	sums, seen := map[string]Sum{}, map[link]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return nil // it has just gone
		}
		if l, shared := linkOf(info); shared {
			if seen[l] {
				return nil
			}
			seen[l] = true
		}
		within, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		kind := kindOf(filepath.ToSlash(within))
		sum := sums[kind]
		sum.Add(Sum{Files: 1, Bytes: sizeOf(info)})
		sums[kind] = sum
		return nil
	})
	return sums, err
}

// Length adds up the lengths of the files below a folder. What goes or cannot be read meanwhile is left out, and so is a folder
// that is not there.
func Length(folder string) (total int64) {
	_ = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a folder that has gone has no length
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
