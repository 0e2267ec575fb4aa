package doctor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/loopback/loopbacktest"
	"github.com/vibeflow/vibeflow/internal/pyenv"
)

// healthy is a machine on which every check passes or warns only of the environment that is not built.
func healthy(t *testing.T) Options {
	t.Helper()
	dir, err := datadir.Open(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	return Options{
		DataDir: dir.Root(), Listen: loopbacktest.Free(t),
		Python: pyenv.Options{Files: fstest.MapFS{"cpu.lock": {Data: []byte("none")}}, Kind: pyenv.KindCPU, CacheDir: filepath.Join(t.TempDir(), "cache")},
		probe:  machine("16777216", "12582912", "avx2 avx512_bf16", ""),
		disk:   func(path string) hardware.Disk { return hardware.Disk{Path: path, Total: 100 * gib, Free: 50 * gib} },
		uid:    os.Geteuid, now: time.Now,
	}
}

func machine(totalKiB, availableKiB, flags, smi string) *hardware.Probe {
	return &hardware.Probe{
		Root: fstest.MapFS{
			"proc/cpuinfo": {Data: []byte("model name : Test CPU\nflags : " + flags + "\n")},
			"proc/meminfo": {Data: []byte("MemTotal: " + totalKiB + " kB\nMemAvailable: " + availableKiB + " kB\n")},
		},
		SMI: func(context.Context) ([]byte, error) {
			if smi == "" {
				return nil, errors.New("no nvidia-smi")
			}
			return []byte(smi), nil
		},
	}
}

func named(t *testing.T, checks []Check, name string) Check {
	t.Helper()
	for _, check := range checks {
		if check.Name == name {
			return check
		}
	}
	t.Fatalf("no check %q in %+v", name, checks)
	return Check{}
}

func TestAHealthyMachine(t *testing.T) {
	t.Parallel()
	options := healthy(t)
	checks := Run(t.Context(), options)
	for _, check := range checks {
		require.NotEmpty(t, check.Found, check.Name)
		if check.Status != OK {
			require.NotEmpty(t, check.Remedy, check.Name)
		}
		if check.Name != "runner environment" {
			require.Equal(t, OK, check.Status, "%+v", check)
		}
	}
	require.Contains(t, named(t, checks, "processor").Found, "bf16")
	require.Equal(t, "not built yet", named(t, checks, "runner environment").Found)
	require.NoDirExists(t, options.Python.CacheDir, "looking changes nothing")
}

func TestWhatIsWrongIsFoundAndHasARemedy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		harm   func(t *testing.T, o *Options)
		check  string
		status Status
		says   string
	}{
		"little memory": {func(_ *testing.T, o *Options) { o.probe = machine("1048576", "1000000", "avx2", "") },
			"memory", Fail, "smallest model"},
		"not much memory": {func(_ *testing.T, o *Options) { o.probe = machine("6291456", "6000000", "avx2", "") },
			"memory", Warn, "4 GiB"},
		"a readable secret": {func(t *testing.T, o *Options) {
			require.NoError(t, os.WriteFile(filepath.Join(o.DataDir, "secrets", "jwt.key"), nil, 0o600))
			require.NoError(t, os.Chmod(filepath.Join(o.DataDir, "secrets", "jwt.key"), 0o644))
		}, "data folder", Fail, "chmod go-rwx"},
		"a disk that is nearly full": {func(_ *testing.T, o *Options) {
			o.disk = func(string) hardware.Disk { return hardware.Disk{Total: 100 * gib, Free: gib} }
		}, "disk", Fail, "free some"},
		"no room for the environment": {func(_ *testing.T, o *Options) {
			o.disk = func(path string) hardware.Disk {
				if path == o.DataDir {
					return hardware.Disk{Total: 100 * gib, Free: 50 * gib}
				}
				return hardware.Disk{Total: 100 * gib, Free: gib}
			}
		}, "disk", Fail, "XDG_CACHE_HOME"},
		"a folder of other files": {func(t *testing.T, o *Options) {
			o.DataDir = t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(o.DataDir, "thesis.tex"), nil, 0o600))
		}, "data folder", Fail, "empty or a new folder"},
		"a folder of another user": {func(_ *testing.T, o *Options) {
			o.uid = func() int { return os.Geteuid() + 1 }
		}, "data folder", Fail, "run VibeFlow as"},
		"a folder below a file": {func(t *testing.T, o *Options) {
			file := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			o.DataDir = filepath.Join(file, "data")
		}, "data folder", Fail, "--data"},
		"a file for a folder": {func(t *testing.T, o *Options) {
			o.DataDir = filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(o.DataDir, nil, 0o600))
		}, "data folder", Fail, "--data"},
		"stored files that are away": {func(t *testing.T, o *Options) {
			require.NoError(t, os.WriteFile(filepath.Join(o.DataDir, "app.db"), nil, 0o600))
			require.NoError(t, os.Mkdir(filepath.Join(o.DataDir, "blobs"), 0o700))
		}, "stored files", Fail, "mount their disk"},
		"a taken port": {func(t *testing.T, o *Options) {
			listener, err := net.Listen("tcp", o.Listen)
			require.NoError(t, err)
			t.Cleanup(func() { _ = listener.Close() })
		}, "port", Fail, "--listen"},
		"no Python": {func(_ *testing.T, o *Options) { o.Python.Python = "/nonexistent" },
			"python", Fail, "3.11"},
		"a clock that was set back": {func(_ *testing.T, o *Options) {
			o.now = func() time.Time { return time.Now().Add(-time.Hour) }
		}, "clock", Warn, "set the clock"},
		"a driver without a device": {func(_ *testing.T, o *Options) {
			o.probe.Root.(fstest.MapFS)["proc/driver/nvidia/version"] = &fstest.MapFile{}
		}, "gpu", Warn, "nvidia-smi"},
		"a broken environment": {func(t *testing.T, o *Options) {
			env := filepath.Join(o.Python.CacheDir, "runner-140bedbf9c3f-py3.11")
			require.NoError(t, os.MkdirAll(env, 0o700))
		}, "runner environment", Warn, "again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := healthy(t)
			test.harm(t, &options)
			checks := Run(t.Context(), options)
			check := named(t, checks, test.check)
			require.Equal(t, test.status, check.Status, "%+v", check)
			require.Contains(t, check.Remedy, test.says)
			require.NotEqual(t, OK, Worst(checks))
		})
	}
}

func TestARunningVibeFlowMayHaveItsPort(t *testing.T) {
	t.Parallel()
	options := healthy(t)
	dir, err := datadir.Open(options.DataDir)
	require.NoError(t, err)
	lock, err := dir.Lock(string(datadir.ProcessServer))
	require.NoError(t, err)
	defer lock.Release()
	listener, err := net.Listen("tcp", options.Listen)
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	check := named(t, Run(t.Context(), options), "port")
	require.Equal(t, OK, check.Status)
	require.Contains(t, check.Found, "running")
}

func TestGPUsAreNamed(t *testing.T) {
	t.Parallel()
	options := healthy(t)
	options.probe = machine("16777216", "12582912", "avx2", "0, NVIDIA H200, 143771, 143101, 9.0, 570.86.15\n")
	check := named(t, Run(t.Context(), options), "gpu")
	require.Equal(t, OK, check.Status)
	require.True(t, strings.HasPrefix(check.Found, "NVIDIA H200, 140 GiB"), check.Found)
}

func TestWorst(t *testing.T) {
	t.Parallel()
	require.Equal(t, OK, Worst(nil))
	require.Equal(t, Warn, Worst([]Check{{Status: OK}, {Status: Warn}, {Status: OK}}))
	require.Equal(t, Fail, Worst([]Check{{Status: Fail}, {Status: Warn}}))
}
