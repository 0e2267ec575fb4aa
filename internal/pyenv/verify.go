package pyenv

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	markerFile = "vibeflow.json"
	// buildingMark is in the name of every folder that is not finished.
	buildingMark = ".building-"
)

// marker is written last. It lists what lies in site-packages, so that a loss is noticed without starting Python.
type marker struct {
	Lock    string    `json:"lock"`
	Python  string    `json:"python"`
	BuiltAt time.Time `json:"built_at"`
	Entries []string  `json:"entries"`
}

// verify tells what is wrong with an environment, as far as can be told within a tenth of a second: the marker, every
// package's folder, and whether the interpreter still runs (its system Python may have been upgraded away).
func verify(ctx context.Context, root string) error {
	content, err := os.ReadFile(filepath.Join(root, markerFile))
	if err != nil {
		return errors.New("it was not finished")
	}
	var mark marker
	if err := json.Unmarshal(content, &mark); err != nil {
		return errors.New("its marker is damaged")
	}
	packages, err := sitePackages(root)
	if err != nil {
		return err
	}
	present, err := listNames(packages)
	if err != nil {
		return err
	}
	for _, name := range mark.Entries {
		if !present[name] {
			return fmt.Errorf("%s is missing", name)
		}
	}
	python, err := probePython(ctx, interpreter(root))
	if err != nil {
		return fmt.Errorf("its Python: %w", err)
	}
	if python.Minor != mark.Python {
		return fmt.Errorf("its Python has become %s", python.Minor)
	}
	return nil
}

// damage is one installed file that is not what its package says.
type damage struct {
	dist    string // the package, as its .dist-info folder names it
	path    string // relative to site-packages
	problem string
	altered bool // there, with another content: so is then its twin in the package cache, by a hard link
}

// VerifyFiles compares every installed file with the packages' own lists, by presence and size: some seconds on a
// cold disk. It returns what is wrong first, nil if nothing is.
func VerifyFiles(ctx context.Context, root string) error {
	if err := verify(ctx, root); err != nil {
		return err
	}
	found, err := findDamage(ctx, root)
	if err != nil || len(found) == 0 {
		return err
	}
	return fmt.Errorf("%s %s", found[0].path, found[0].problem)
}

func findDamage(ctx context.Context, root string) ([]damage, error) {
	packages, err := sitePackages(root)
	if err != nil {
		return nil, err
	}
	records, err := filepath.Glob(filepath.Join(packages, "*.dist-info", "RECORD"))
	if err != nil {
		return nil, err
	}
	var all []damage
	for _, record := range records {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		found, err := checkRecord(packages, record)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// checkRecord reads lines of "path,sha256=…,size"; files without a size are lists and caches.
func checkRecord(packages, record string) (found []damage, err error) {
	file, err := os.Open(record)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	dist, _, _ := strings.Cut(filepath.Base(filepath.Dir(record)), "-")
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ",")
		if len(fields) != 3 || strings.HasPrefix(fields[0], `"`) {
			continue
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			continue
		}
		info, err := os.Stat(filepath.Join(packages, filepath.FromSlash(fields[0])))
		switch {
		case err != nil:
			found = append(found, damage{dist, fields[0], "is missing", false})
		case info.Size() != size:
			found = append(found, damage{dist, fields[0], fmt.Sprintf("has %d bytes instead of %d", info.Size(), size), true})
		}
	}
	return found, lines.Err()
}

func sitePackages(root string) (string, error) {
	found, _ := filepath.Glob(filepath.Join(root, "lib", "python3.*", "site-packages")) // the pattern is valid
	if len(found) != 1 {
		return "", errors.New("it has no site-packages")
	}
	return found[0], nil
}

// listNames returns what a folder holds, without Python's caches.
func listNames(dir string) (map[string]bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, entry := range entries {
		if entry.Name() != "__pycache__" {
			names[entry.Name()] = true
		}
	}
	return names, nil
}
