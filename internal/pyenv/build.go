package pyenv

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// build makes the environment aside and renames it into place. The caller holds the lock.
func (b *builder) build(ctx context.Context) (*Env, error) {
	b.removeLeftovers()
	if err := b.checkDisk(); err != nil {
		return nil, err
	}
	b.report.say(PhasePython, "looking for Python 3.11 to 3.13")
	python, err := FindPython(ctx, b.Python)
	if err != nil {
		return nil, err
	}
	uv, err := b.installer(ctx, python)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(b.CacheDir, "runner-"+b.hash+"-py"+python.Minor)
	if err := b.distrustCache(ctx, uv); err != nil {
		return nil, err
	}
	aside := root + buildingMark + fmt.Sprint(os.Getpid())
	defer func() { _ = os.RemoveAll(aside) }()
	if err := b.install(ctx, uv, python, aside); err != nil {
		return nil, err
	}
	b.report.say(PhaseCheck, "checking")
	if err := finish(aside, b.hash, python.Minor); err != nil {
		return nil, err
	}
	if err := verify(ctx, aside); err != nil {
		return nil, contract.Errorf(contract.CodeEnvironment, "the runner's environment was built and is broken: %w", err)
	}
	// A broken predecessor may still be there.
	if err := os.RemoveAll(root); err != nil {
		return nil, err
	}
	if err := os.Rename(aside, root); err != nil {
		return nil, err
	}
	env := b.env(root)
	env.Built = true
	return env, nil
}

// removeLeftovers clears what killed builds of this environment left.
func (b *builder) removeLeftovers() {
	leftovers, _ := filepath.Glob(filepath.Join(b.CacheDir, "runner-"+b.hash+"-py3.*"+buildingMark+"*")) // the pattern is valid
	for _, path := range leftovers {
		_ = os.RemoveAll(path)
	}
}

// distrustCache drops from the package cache what a predecessor shows to be damaged: the two share their files. If it
// shows nothing, and yet a rebuild was asked for, all of it goes.
func (b *builder) distrustCache(ctx context.Context, uv uvTool) error {
	names := map[string]bool{}
	roots, _ := filepath.Glob(filepath.Join(b.CacheDir, "runner-"+b.hash+"-py3.*")) // the pattern is valid
	for _, root := range roots {
		found, _ := findDamage(ctx, root) // one that cannot be read shows nothing
		for _, one := range found {
			if one.altered {
				names[one.dist] = true
			}
		}
	}
	if len(names) == 0 && !b.Rebuild {
		return nil
	}
	args := append([]string{"cache", "clean"}, slices.Sorted(maps.Keys(names))...)
	return uv.run(ctx, b.report, args...)
}

func (b *builder) checkDisk() error {
	disk := hardware.DiskOf(b.CacheDir)
	if disk.Total == 0 || disk.Free >= b.NeedBytes {
		return nil
	}
	return contract.Errorf(contract.CodePrerequisite, "the runner's environment needs %s of disk, and %s has %s free",
		humanize.IBytes(b.NeedBytes), b.CacheDir, humanize.IBytes(disk.Free)).
		Mend("free some, or set XDG_CACHE_HOME to a folder on a larger disk")
}

// install makes the virtual environment and puts exactly the locked packages into it.
func (b *builder) install(ctx context.Context, uv uvTool, python Python, root string) error {
	locked, torch := b.lock, ""
	if b.TorchIndex != "" {
		locked, torch = withoutTorch(b.lock)
	}
	lockPath := root + ".lock"
	if err := os.WriteFile(lockPath, locked, 0o600); err != nil {
		return err
	}
	defer func() { _ = os.Remove(lockPath) }()
	defer b.report.watch(uv.cache)() // the environment itself is links into it

	b.report.say(PhaseDownload, "Python "+python.Minor+" at "+python.Path)
	// Relocatable, for the environment is renamed once it is complete.
	if err := uv.run(ctx, b.report, "venv", "--relocatable", "--no-project", "--no-python-downloads", "--python", python.Path, root); err != nil {
		return err
	}
	// The lock is complete, so nothing is resolved: "sync" installs what it names and nothing else.
	if err := uv.run(ctx, b.report, "pip", "sync", "--require-hashes", "--python", interpreter(root), lockPath); err != nil {
		return err
	}
	if torch == "" {
		return nil
	}
	return uv.run(ctx, b.report, "pip", "install", "--python", interpreter(root), "--index-url", b.TorchIndex, torch)
}

// torchOnly matches the packages that PyTorch's build brings along and another build brings in other versions.
var torchOnly = regexp.MustCompile(`^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==`)

// withoutTorch splits PyTorch and its companions off a lock, and returns the requirement "torch==…".
func withoutTorch(lock []byte) (rest []byte, torch string) {
	var kept strings.Builder
	keeping := true
	for line := range strings.Lines(string(lock)) {
		if requirement := strings.TrimRight(line, "\\ \n"); requirement != "" && !strings.HasPrefix(line, " ") {
			keeping = !torchOnly.MatchString(line)
			if strings.HasPrefix(line, "torch==") {
				torch, _, _ = strings.Cut(requirement, " ")
			}
		}
		if keeping {
			kept.WriteString(line)
		}
	}
	return []byte(kept.String()), torch
}

// finish writes the marker.
func finish(root, lock, python string) error {
	packages, err := sitePackages(root)
	if err != nil {
		return contract.Errorf(contract.CodeEnvironment, "the runner's environment is incomplete: %w", err)
	}
	present, err := listNames(packages)
	if err != nil {
		return err
	}
	content, err := json.MarshalIndent(marker{
		Lock: lock, Python: python, BuiltAt: time.Now().UTC(), Entries: slices.Sorted(maps.Keys(present)),
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, markerFile), content, 0o600)
}
