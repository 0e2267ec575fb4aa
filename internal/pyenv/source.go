package pyenv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
)

// sourcePackage is the folder of Options.Files that holds the runner.
const sourcePackage = "vibeflow_peft"

// ensureSource unpacks the runner's source into a folder named by its content, if it is not there as it should be.
func ensureSource(files fs.FS, cacheDir string) (string, error) {
	content, names, err := readSource(files)
	if err != nil {
		return "", err
	}
	target := filepath.Join(cacheDir, "runner-src-"+sourceHash(content, names))
	if intact(target, content) {
		return target, nil
	}
	aside, err := os.MkdirTemp(cacheDir, "runner-src"+buildingMark)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(aside) }()
	for _, name := range names {
		path := filepath.Join(aside, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, content[name], 0o600); err != nil {
			return "", err
		}
	}
	return target, replace(aside, target, func() bool { return intact(target, content) })
}

func readSource(files fs.FS) (content map[string][]byte, names []string, err error) {
	content = map[string][]byte{}
	err = fs.WalkDir(files, sourcePackage, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		names = append(names, name)
		content[name], err = fs.ReadFile(files, name)
		return err
	})
	sort.Strings(names)
	return content, names, err
}

func sourceHash(content map[string][]byte, names []string) string {
	sum := sha256.New()
	for _, name := range names {
		fmt.Fprintf(sum, "%s\x00%d\x00", name, len(content[name]))
		sum.Write(content[name])
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// intact tells whether every file is there, byte for byte. Python's own caches may lie beside them.
func intact(root string, content map[string][]byte) bool {
	for name, want := range content {
		got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

// replace renames a finished folder into place. What stood there goes away first; if another process was faster and
// its result is sound, that one stays.
func replace(aside, target string, sound func() bool) error {
	err := os.Rename(aside, target)
	if err == nil || sound() {
		return nil
	}
	if !errors.Is(err, fs.ErrExist) && !isNotEmpty(err) {
		return err
	}
	old := aside + ".old"
	if err := os.Rename(target, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() { _ = os.RemoveAll(old) }()
	if err := os.Rename(aside, target); err != nil && !sound() {
		return err
	}
	return nil
}
