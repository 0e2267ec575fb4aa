// Package pyenv builds and keeps the Python environment of the runner, in the user's cache folder:
//
//	<cache>/vibeflow/
//	├─ runner-<hash of the lock>-py3.x/   a virtual environment, complete or absent
//	├─ runner-src-<hash>/                 the runner's source, for PYTHONPATH
//	├─ installer-<hash>-py3.x/            a private uv, where the machine has none
//	└─ packages/                          uv's cache; the environments are hard links into it
//
// Environment and source are keyed apart: a new source needs no new environment. Both appear by a rename, so a kill
// leaves nothing half-made, and a file lock lets two processes build once. An environment that was damaged later is
// noticed and rebuilt, from the package cache, without another download. Nothing outside of the folder is touched.
package pyenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/filelock"
	"github.com/vibeflow/vibeflow/internal/hardware"
)

// Kind is which lock an environment is built from.
type Kind string

// The kinds. KindCPU leaves out what only an NVIDIA driver can use.
const (
	KindCPU  Kind = "cpu"
	KindCUDA Kind = "cuda"
)

// NeedBytes is the disk space that an environment takes with its package cache, with some room: 6.2 GB were measured.
const NeedBytes = 7 << 30

// Options says what to build and where. The zero value of each optional field is the usual choice.
type Options struct {
	// Files holds cpu.lock, cuda.lock, installer.lock and vibeflow_peft/: peft.Files.
	Files fs.FS
	// CacheDir is the folder to build in; empty: DefaultCacheDir.
	CacheDir string
	// Kind chooses the lock; empty: by whether an NVIDIA driver is loaded.
	Kind Kind
	// Python is the interpreter to use, a path or a name in PATH ($VIBEFLOW_PYTHON); empty: the newest of 3.11–3.13.
	Python string
	// UV is the installer to use, a path or a name in PATH ($VIBEFLOW_UV); empty: that of PATH, else a private one.
	UV string
	// TorchIndex is the URL of a package index to take PyTorch from, for another build of it ($VIBEFLOW_TORCH_INDEX).
	// The lock knows no hashes of that build, so PyTorch and what it alone needs come unverified from there.
	TorchIndex string
	// NeedBytes overrides the constant of that name.
	NeedBytes uint64
	// Rebuild throws an environment away that looks sound and is not: an import of it has failed.
	Rebuild bool
}

// Env is an environment that is ready.
type Env struct {
	Python string `json:"python"`  // absolute path of its interpreter
	SrcDir string `json:"src_dir"` // put this into PYTHONPATH
	Root   string `json:"root"`
	Lock   string `json:"lock"` // first 12 hexadecimal digits of the lock's hash
	Kind   Kind   `json:"kind"`
	Built  bool   `json:"built"` // by this call
}

// DefaultCacheDir is vibeflow/ in the user's cache folder.
func DefaultCacheDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", contract.Errorf(contract.CodePrerequisite, "this user has no cache folder: %w", err).
			Mend("set HOME or XDG_CACHE_HOME")
	}
	return filepath.Join(cache, "vibeflow"), nil
}

// Ensure returns the runner's environment, building what is missing or broken, which takes minutes the first time.
// It tells progress how it goes (which may be nil). It fails with CodePrerequisite if the machine lacks Python or disk
// space, with CodeUnavailable if packages cannot be fetched, and with CodeEnvironment if they cannot be installed.
func Ensure(ctx context.Context, options Options, progress func(Progress)) (*Env, error) {
	b, err := newBuilder(ctx, options, progress)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.CacheDir, 0o700); err != nil {
		return nil, contract.Errorf(contract.CodePrerequisite, "the cache folder cannot be used: %w", err).
			Mend("make %s writable, or set XDG_CACHE_HOME to another folder", b.CacheDir)
	}
	src, err := ensureSource(b.Files, b.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("unpack the runner's source: %w", err)
	}
	env, err := b.ensure(ctx)
	if err != nil {
		return nil, err
	}
	env.SrcDir = src
	b.report.say(PhaseReady, env.Root)
	return env, nil
}

// Inspect looks for the environment that Ensure would return, without building one. Env is nil if there is none, and
// broken then says what is wrong with what there is, empty if there is nothing.
func Inspect(ctx context.Context, options Options) (env *Env, broken string, err error) {
	options.Rebuild = false
	b, err := newBuilder(ctx, options, nil)
	if err != nil {
		return nil, "", err
	}
	env, broken = b.find(ctx)
	return env, broken, nil
}

// builder is one call of Ensure.
type builder struct {
	Options
	lock   []byte
	hash   string // of what decides the environment's content
	report *reporter
}

func newBuilder(ctx context.Context, options Options, progress func(Progress)) (*builder, error) {
	if options.Files == nil {
		return nil, errors.New("pyenv: Options.Files is not set (use peft.Files)")
	}
	var err error
	if options.CacheDir == "" {
		if options.CacheDir, err = DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	if options.CacheDir, err = filepath.Abs(options.CacheDir); err != nil {
		return nil, err
	}
	if options.NeedBytes == 0 {
		options.NeedBytes = NeedBytes
	}
	if options.Kind == "" {
		options.Kind = KindCPU
		if hardware.NewProbe().HasDriver(ctx) {
			options.Kind = KindCUDA
		}
	}
	lock, err := fs.ReadFile(options.Files, string(options.Kind)+".lock")
	if err != nil {
		return nil, fmt.Errorf("read the environment's lock: %w", err)
	}
	return &builder{Options: options, lock: lock, hash: lockHash(lock, options.TorchIndex), report: newReporter(progress)}, nil
}

func lockHash(lock []byte, torchIndex string) string {
	sum := sha256.New()
	sum.Write(lock)
	if torchIndex != "" {
		sum.Write([]byte("\x00" + torchIndex))
	}
	return hex.EncodeToString(sum.Sum(nil))[:12]
}

// ensure finds a sound environment or builds one, whichever Python it was once built with.
func (b *builder) ensure(ctx context.Context) (*Env, error) {
	env, _ := b.find(ctx)
	if env != nil {
		return env, nil
	}
	lock, err := b.own(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	env, broken := b.find(ctx)
	if env != nil {
		return env, nil // another process built it while this one waited
	}
	if broken != "" {
		b.report.say(PhaseCheck, broken+"; it is built again")
	}
	return b.build(ctx)
}

// find returns a sound environment of this lock; if there is none, what is broken about the one there is.
func (b *builder) find(ctx context.Context) (env *Env, broken string) {
	if b.Rebuild {
		return nil, "a rebuild was asked for"
	}
	roots, _ := filepath.Glob(filepath.Join(b.CacheDir, "runner-"+b.hash+"-py3.*")) // the pattern is valid
	for _, root := range roots {
		if !isEnvironment(root) {
			continue
		}
		if err := verify(ctx, root); err != nil {
			broken = fmt.Sprintf("%s is broken: %v", filepath.Base(root), err)
			continue
		}
		now := time.Now()
		_ = os.Chtimes(filepath.Join(root, markerFile), now, now) // only for Installed's "last used"
		return b.env(root), ""
	}
	return nil, broken
}

// own waits until no other process builds this environment.
func (b *builder) own(ctx context.Context) (*filelock.Lock, error) {
	path := filepath.Join(b.CacheDir, "runner-"+b.hash+".lock")
	if pid, held := filelock.Owner(path); held {
		b.report.say(PhaseWait, fmt.Sprintf("process %d is building it", pid))
	}
	lock, err := filelock.Wait(ctx, path)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return lock, err
}

func (b *builder) env(root string) *Env {
	return &Env{Python: interpreter(root), Root: root, Lock: b.hash, Kind: b.Kind}
}

func interpreter(root string) string { return filepath.Join(root, "bin", "python") }

// Installed is an environment in the cache folder, of this or of another release.
type Installed struct {
	Root     string    `json:"root"`
	LastUsed time.Time `json:"last_used"`
}

// List returns the environments in a cache folder (empty: the default one).
func List(cacheDir string) ([]Installed, error) {
	if cacheDir == "" {
		var err error
		if cacheDir, err = DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	markers, err := filepath.Glob(filepath.Join(cacheDir, "runner-*-py3.*", markerFile))
	if err != nil {
		return nil, err
	}
	var all []Installed
	for _, path := range markers {
		root := filepath.Dir(path)
		if info, err := os.Stat(path); err == nil && isEnvironment(root) {
			all = append(all, Installed{Root: root, LastUsed: info.ModTime()})
		}
	}
	return all, nil
}

// isEnvironment tells a finished environment's folder from leftovers of its building.
func isEnvironment(root string) bool {
	return strings.HasPrefix(filepath.Base(root), "runner-") && !strings.Contains(filepath.Base(root), buildingMark)
}
