// Package hardware tells what this machine can train on, without Python: processor, memory, disk and NVIDIA GPUs.
// Limits of a container (control groups) count as the machine's own.
package hardware

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Hardware is what one machine has; sizes are in bytes.
type Hardware struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    CPU    `json:"cpu"`
	Memory Memory `json:"memory"`
	Disk   Disk   `json:"disk"`
	GPUs   []GPU  `json:"gpus"`
}

// CPU is the processor. Flags are those of Flags that it has; empty where the system does not tell.
type CPU struct {
	Model string   `json:"model"`
	Cores int      `json:"cores"` // usable ones, after affinity and quota
	Flags []string `json:"flags"`
}

// Memory is main memory, after limits.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"` // without swapping
}

// Disk is the file system that holds Path.
type Disk struct {
	Path  string `json:"path"`
	Total uint64 `json:"total"`
	Free  uint64 `json:"free"` // for this user
}

// GPU is one NVIDIA device.
type GPU struct {
	Index             int    `json:"index"`
	Name              string `json:"name"`
	Memory            uint64 `json:"memory"`
	MemoryFree        uint64 `json:"memory_free"`
	ComputeCapability string `json:"compute_capability"` // "9.0"
	Driver            string `json:"driver"`
}

// Flags are the processor features that decide how fast, and whether safely, a model trains on it.
var Flags = []string{"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"}

// smiPatience bounds a question to the driver: a wedged one never answers.
const smiPatience = 10 * time.Second

// Probe looks at a machine. Its fields are the ways to the machine, so that tests can give it another one.
type Probe struct {
	Root fs.FS                                       // of /proc and /sys
	SMI  func(context.Context) (csv []byte, e error) // nvidia-smi's answer to smiQuery
}

// NewProbe looks at this machine.
func NewProbe() Probe { return Probe{Root: os.DirFS("/"), SMI: runSMI} }

// Detect returns this machine's hardware; Disk is that of diskPath, or of its nearest folder that exists.
func Detect(ctx context.Context, diskPath string) Hardware { return NewProbe().Detect(ctx, diskPath) }

// Detect returns what can be found out; what cannot stays zero.
func (p Probe) Detect(ctx context.Context, diskPath string) Hardware {
	return Hardware{
		OS: runtime.GOOS, Arch: runtime.GOARCH,
		CPU: p.cpu(), Memory: p.memory(), Disk: DiskOf(diskPath), GPUs: p.gpus(ctx),
	}
}

// HasDriver tells whether an NVIDIA driver is loaded and has a device: the choice between the CPU's and the GPU's
// runner environment.
func (p Probe) HasDriver(ctx context.Context) bool {
	if _, err := fs.Stat(p.Root, "proc/driver/nvidia/version"); err == nil {
		return true
	}
	return len(p.gpus(ctx)) > 0 // WSL2 has the driver outside of /proc
}

// Class is the machine's class of task queue: "cpu", or its first GPU's model such as "h200", "a100-80gb", "rtx-4090".
func (h Hardware) Class() string {
	if len(h.GPUs) == 0 {
		return "cpu"
	}
	return h.GPUs[0].Class()
}

var (
	maker      = regexp.MustCompile(`(?i)\b(nvidia|tesla|geforce|quadro|graphics|gpu)\b`)
	formFactor = regexp.MustCompile(`(?i)\b(sxm\d*|pcie|nvl|hbm\d*e?)\b`)
	notSlug    = regexp.MustCompile(`[^a-z0-9]+`)
)

// Class is the GPU's model without maker and form factor, fit for the name of a queue.
func (g GPU) Class() string {
	name := formFactor.ReplaceAllString(maker.ReplaceAllString(g.Name, " "), " ")
	slug := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if slug == "" {
		return "gpu"
	}
	return slug
}

var smiQuery = []string{
	"--query-gpu=index,name,memory.total,memory.free,compute_cap,driver_version", "--format=csv,noheader,nounits",
}

func runSMI(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, smiPatience)
	defer cancel()
	command := exec.CommandContext(ctx, "nvidia-smi", smiQuery...)
	command.WaitDelay = time.Second
	return command.Output()
}

// gpus asks the driver; a machine without one has none.
func (p Probe) gpus(ctx context.Context) []GPU {
	found := []GPU{}
	csv, err := p.SMI(ctx)
	if err != nil {
		return found
	}
	for line := range strings.Lines(string(csv)) {
		if gpu, ok := parseGPU(line); ok {
			found = append(found, gpu)
		}
	}
	return found
}

func parseGPU(line string) (GPU, bool) {
	fields := strings.Split(line, ",")
	if len(fields) != 6 {
		return GPU{}, false
	}
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	index, err := strconv.Atoi(fields[0])
	if err != nil {
		return GPU{}, false
	}
	return GPU{
		Index: index, Name: fields[1], Memory: mebibytes(fields[2]), MemoryFree: mebibytes(fields[3]),
		ComputeCapability: fields[4], Driver: fields[5],
	}, true
}

// mebibytes reads nvidia-smi's number; "[N/A]", as devices with shared memory say, is 0.
func mebibytes(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0
	}
	return n << 20
}
