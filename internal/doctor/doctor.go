// Package doctor looks at a machine and says what would keep VibeFlow from working on it, and what to do about that.
// It changes nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/filelock"
	"github.com/vibeflow/vibeflow/internal/hardware"
	"github.com/vibeflow/vibeflow/internal/pyenv"
)

// Status is the verdict of one check.
type Status string

// The verdicts, from best to worst: warn means slower or less, fail means not at all.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Found  string `json:"found"`
	Remedy string `json:"remedy,omitempty"`
}

// Options says what the machine is to be fit for.
type Options struct {
	DataDir string        // the data folder, which need not exist
	Listen  string        // the server's HOST:PORT; empty: DefaultListen
	Python  pyenv.Options // of the runner's environment; Files is required
	// Deep compares every file of the environment with its package: some seconds.
	Deep bool

	probe *hardware.Probe // nil: this machine
	disk  func(path string) hardware.Disk
	uid   func() int
	now   func() time.Time
}

// DefaultListen is where the server listens unless told otherwise.
const DefaultListen = "127.0.0.1:8400"

const (
	gib            = 1 << 30
	leastMemory    = 2 * gib // for the smallest model
	comfortable    = 8 * gib // for the bundled model beside everything else: 4 GiB at its peak
	dataNeeds      = 2 * gib // datasets, checkpoints and models of a first project
	dataComfort    = 8 * gib
	staleAfter     = 30 * 24 * time.Hour
	toleratedDrift = 2 * time.Minute
)

// Run makes every check, in an order that a person would mend things in.
func Run(ctx context.Context, options Options) []Check {
	if options.probe == nil {
		probe := hardware.NewProbe()
		options.probe = &probe
	}
	if options.Listen == "" {
		options.Listen = DefaultListen
	}
	if options.now == nil {
		options.now, options.uid, options.disk = time.Now, os.Geteuid, hardware.DiskOf
	}
	machine := options.probe.Detect(ctx, options.DataDir)
	checks := []Check{
		checkProcessor(machine), checkMemory(machine), checkDisk(ctx, options),
		checkDataFolder(options), checkStorage(options), checkBackup(options), checkClock(options), checkPort(options),
		checkPython(ctx, options), checkEnvironment(ctx, options),
		checkGPU(ctx, options, machine),
	}
	return append(checks, checkStale(options)...)
}

// Worst is the verdict on all checks together.
func Worst(checks []Check) Status {
	worst := OK
	for _, check := range checks {
		if check.Status == Fail || check.Status == Warn && worst == OK {
			worst = check.Status
		}
	}
	return worst
}

func checkProcessor(machine hardware.Hardware) Check {
	flags := machine.CPU.Flags
	check := Check{Name: "processor", Status: OK, Found: fmt.Sprintf("%s, %d cores", machine.CPU.Model, machine.CPU.Cores)}
	switch {
	case slices.Contains(flags, "amx_bf16") || slices.Contains(flags, "avx512_bf16") || slices.Contains(flags, "bf16"):
		check.Found += ", computes in bf16 (training is two to three times as fast)"
	case machine.Arch == "amd64" && machine.OS == "linux" && !slices.Contains(flags, "avx2"):
		check.Status = Warn
		check.Found += ", without AVX2"
		check.Remedy = "training on this processor is very slow; use a GPU or a newer machine"
	}
	return check
}

func checkMemory(machine hardware.Hardware) Check {
	memory := machine.Memory
	check := Check{Name: "memory", Status: OK,
		Found: fmt.Sprintf("%s, %s available", humanize.IBytes(memory.Total), humanize.IBytes(memory.Available))}
	switch {
	case memory.Total == 0:
		check.Status, check.Found = Warn, "unknown"
	case memory.Total < leastMemory:
		check.Status = Fail
		check.Remedy = "even the smallest model needs " + humanize.IBytes(leastMemory) + "; raise the container's limit or use a larger machine"
	case memory.Available < comfortable/2 || memory.Total < comfortable:
		check.Status = Warn
		check.Remedy = "training the bundled model takes up to 4 GiB: stop other programs, or choose short rows and small batches"
	}
	return check
}

func checkDisk(ctx context.Context, options Options) Check {
	data := options.disk(options.DataDir)
	check := Check{Name: "disk", Status: OK, Found: fmt.Sprintf("%s for data (%s)", free(data), options.DataDir)}
	switch {
	case data.Total == 0:
	case data.Free < dataNeeds:
		check.Status, check.Remedy = Fail, "nearly full: free some, or name a folder on a larger disk with --data"
	case data.Free < dataComfort:
		check.Status, check.Remedy = Warn, "enough for small models; checkpoints of larger ones pause when the disk is full"
	}
	cache, err := cacheDir(options)
	if err != nil {
		return Check{Name: "disk", Status: Fail, Found: err.Error(), Remedy: "set HOME or XDG_CACHE_HOME"}
	}
	disk := options.disk(cache)
	check.Found += fmt.Sprintf(", %s for the runner's environment (%s)", free(disk), cache)
	env, _, err := pyenv.Inspect(ctx, options.Python)
	if missing := err != nil || env == nil; missing && disk.Total != 0 && disk.Free < pyenv.NeedBytes {
		check.Status = Fail
		check.Remedy = "the environment needs " + humanize.IBytes(pyenv.NeedBytes) + ": free some, or set XDG_CACHE_HOME to a folder on a larger disk"
	}
	return check
}

func free(disk hardware.Disk) string {
	if disk.Total == 0 {
		return "unknown space"
	}
	return humanize.IBytes(disk.Free) + " free"
}

func cacheDir(options Options) (string, error) {
	if options.Python.CacheDir != "" {
		return options.Python.CacheDir, nil
	}
	return pyenv.DefaultCacheDir()
}

// checkClock compares the clock with the newest file that VibeFlow has written: leases and tokens go by it.
func checkClock(options Options) Check {
	now := options.now()
	check := Check{Name: "clock", Status: OK, Found: now.UTC().Format(time.RFC3339)}
	var newest time.Time
	for _, pattern := range []string{"*", "temporal/*", "run/*", "logs/*"} {
		paths, _ := filepath.Glob(filepath.Join(options.DataDir, pattern)) // the patterns are valid
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.ModTime().After(newest) {
				newest = info.ModTime()
			}
		}
	}
	if newest.After(now.Add(toleratedDrift)) {
		check.Status = Warn
		check.Found += fmt.Sprintf(", %s behind the files of the data folder", newest.Sub(now).Round(time.Second))
		check.Remedy = "set the clock (timedatectl set-ntp true), or runs and sign-ins will seem to be in the future"
	}
	return check
}

func checkPort(options Options) Check {
	check := Check{Name: "port", Status: OK, Found: options.Listen + " is free"}
	if pid, held := filelock.Owner(filepath.Join(options.DataDir, "run", "server.lock")); held {
		check.Found = fmt.Sprintf("VibeFlow is running on this data folder (process %d)", pid)
		return check
	}
	listener, err := net.Listen("tcp", options.Listen)
	if err != nil {
		check.Status, check.Found = Fail, err.Error()
		if errors.Is(err, syscall.EADDRINUSE) {
			check.Found = options.Listen + " is taken by another program"
		}
		check.Remedy = "stop that program, or choose another: `vibeflow up --listen HOST:PORT`"
		return check
	}
	_ = listener.Close()
	return check
}

func checkPython(ctx context.Context, options Options) Check {
	python, err := pyenv.FindPython(ctx, options.Python.Python)
	if err != nil {
		return failed("python", err)
	}
	check := Check{Name: "python", Status: OK, Found: python.Minor + " at " + python.Path}
	if how, err := pyenv.FindInstaller(ctx, options.Python, python); err != nil {
		check = failed("python", err)
		check.Found = python.Minor + " at " + python.Path + ", but " + check.Found
	} else {
		check.Found += "; packages by " + how
	}
	return check
}

func checkEnvironment(ctx context.Context, options Options) Check {
	env, broken, err := pyenv.Inspect(ctx, options.Python)
	check := Check{Name: "runner environment", Status: OK}
	switch {
	case err != nil:
		return failed(check.Name, err)
	case broken != "":
		check.Status, check.Found = Warn, broken
		check.Remedy = "nothing: the next start builds it again from the package cache"
	case env == nil:
		check.Status, check.Found = Warn, "not built yet"
		check.Remedy = "nothing: the first start builds it (about 2.9 GB to download)"
	default:
		check.Found = fmt.Sprintf("%s (%s)", env.Root, env.Kind)
		if options.Deep {
			return checkFiles(ctx, check, env)
		}
	}
	return check
}

func checkFiles(ctx context.Context, check Check, env *pyenv.Env) Check {
	if err := pyenv.VerifyFiles(ctx, env.Root); err != nil {
		check.Status = Fail
		check.Found += ": " + err.Error()
		check.Remedy = "rm -r " + env.Root + ", then start VibeFlow: it is built again"
		return check
	}
	check.Found += ", every file as it should be"
	return check
}

// checkGPU tells a machine without a GPU, which is fine, from one whose driver does not answer, which is not.
func checkGPU(ctx context.Context, options Options, machine hardware.Hardware) Check {
	check := Check{Name: "gpu", Status: OK}
	if len(machine.GPUs) == 0 {
		check.Found = "none: training runs on the processor"
		if options.probe.HasDriver(ctx) {
			check.Status, check.Found = Warn, "an NVIDIA driver is loaded, but nvidia-smi lists no device"
			check.Remedy = "run nvidia-smi and mend what it reports (often: the driver was upgraded, and the machine must restart)"
		}
		return check
	}
	var found []string
	for _, gpu := range machine.GPUs {
		found = append(found, fmt.Sprintf("%s, %s, compute capability %s, driver %s", gpu.Name, humanize.IBytes(gpu.Memory), gpu.ComputeCapability, gpu.Driver))
	}
	check.Found = strings.Join(found, "; ")
	return check
}

// checkStale lists environments of earlier releases. Paused jobs may need one, so nothing deletes them by itself.
func checkStale(options Options) (checks []Check) {
	installed, err := pyenv.List(options.Python.CacheDir)
	if err != nil {
		return nil
	}
	for _, env := range installed {
		if unused := options.now().Sub(env.LastUsed); unused > staleAfter {
			checks = append(checks, Check{
				Name: "old environment", Status: OK,
				Found:  fmt.Sprintf("%s was last used %d days ago", env.Root, int(unused.Hours()/24)),
				Remedy: "if no paused job needs it: rm -r " + env.Root,
			})
		}
	}
	return checks
}

func failed(name string, err error) Check {
	check := Check{Name: name, Status: Fail, Found: err.Error()}
	var typed *contract.Error
	if errors.As(err, &typed) {
		check.Found, check.Remedy = typed.Message, typed.Remedy
	}
	return check
}
