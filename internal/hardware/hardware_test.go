package hardware

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const gib = uint64(1) << 30

// machine makes a Probe of files and of an answer of nvidia-smi; an empty answer is a machine without a driver.
func machine(smi string, files map[string]string) Probe {
	root := fstest.MapFS{}
	for name, content := range files {
		root[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return Probe{Root: root, SMI: func(context.Context) ([]byte, error) {
		if smi == "" {
			return nil, errors.New("not found")
		}
		return []byte(smi), nil
	}}
}

const meminfo16G = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:   12582912 kB\n"

func TestCPUReadsModelAndTheFlagsThatMatter(t *testing.T) {
	t.Parallel()
	cpu := machine("", map[string]string{"proc/cpuinfo": "processor : 0\nmodel name\t: Intel Xeon 8481C\nflags\t: fpu avx2 avx512f avx512_bf16 amx_bf16 sse4_2\n" +
		"processor : 1\nmodel name\t: other\nflags\t: fpu\n"}).cpu()
	require.Equal(t, "Intel Xeon 8481C", cpu.Model)
	require.Equal(t, []string{"avx2", "avx512f", "avx512_bf16", "amx_bf16"}, cpu.Flags)
	require.Equal(t, runtime.NumCPU(), cpu.Cores)
}

func TestLimitsOfAContainerCount(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files     map[string]string
		total     uint64
		available uint64
	}{
		"no limit": {map[string]string{}, 16 * gib, 12 * gib},
		"version 2, own root": {map[string]string{
			"proc/self/cgroup":             "0::/\n",
			"sys/fs/cgroup/memory.max":     "4294967296\n",
			"sys/fs/cgroup/memory.current": "2147483648\n",
			"sys/fs/cgroup/memory.stat":    "anon 5\ninactive_file 1073741824\n",
			"sys/fs/cgroup/cpu.max":        "50000 100000\n",
		}, 4 * gib, 3 * gib},
		"version 2, a limit around the group": {map[string]string{
			"proc/self/cgroup": "0::/user.slice/job.scope\n",
			"sys/fs/cgroup/user.slice/job.scope/memory.max":   "max\n",
			"sys/fs/cgroup/user.slice/memory.max":             "2147483648\n",
			"sys/fs/cgroup/user.slice/memory.current":         "0\n",
			"sys/fs/cgroup/user.slice/job.scope/cpu.max":      "max 100000\n",
			"sys/fs/cgroup/user.slice/cpu.max":                "100000 100000\n",
			"sys/fs/cgroup/user.slice/job.scope/memory.stat":  "",
			"sys/fs/cgroup/user.slice/job.scope/cgroup.procs": "1\n",
		}, 2 * gib, 2 * gib},
		"version 1": {map[string]string{
			"proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "1073741824",
			"sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "536870912",
			"sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us":         "100000",
			"sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us":        "100000",
		}, gib, gib / 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.files["proc/meminfo"] = meminfo16G
			probe := machine("", test.files)
			require.Equal(t, Memory{Total: test.total, Available: test.available}, probe.memory())
			if name != "no limit" {
				require.Equal(t, 1, probe.cores())
			}
		})
	}
}

func TestGPUs(t *testing.T) {
	t.Parallel()
	probe := machine("0, NVIDIA H200, 143771, 143101, 9.0, 570.86.15\n1, NVIDIA H200, 143771, [N/A], 9.0, 570.86.15\ngarbage\n", nil)
	hardware := probe.Detect(t.Context(), t.TempDir())
	require.Equal(t, []GPU{
		{Index: 0, Name: "NVIDIA H200", Memory: 143771 << 20, MemoryFree: 143101 << 20, ComputeCapability: "9.0", Driver: "570.86.15"},
		{Index: 1, Name: "NVIDIA H200", Memory: 143771 << 20, ComputeCapability: "9.0", Driver: "570.86.15"},
	}, hardware.GPUs)
	require.Equal(t, "h200", hardware.Class())
	require.True(t, probe.HasDriver(t.Context()))
	require.NotZero(t, hardware.Disk.Free)
}

func TestNoDriver(t *testing.T) {
	t.Parallel()
	probe := machine("", nil)
	require.False(t, probe.HasDriver(t.Context()))
	hardware := probe.Detect(t.Context(), t.TempDir())
	require.Equal(t, "cpu", hardware.Class())
	encoded, err := json.Marshal(hardware)
	require.NoError(t, err)
	require.Contains(t, string(encoded), `"gpus":[]`, "a list, not null")

	loaded := machine("", map[string]string{"proc/driver/nvidia/version": "NVRM"})
	require.True(t, loaded.HasDriver(t.Context()))
}

func TestGPUClass(t *testing.T) {
	t.Parallel()
	for name, class := range map[string]string{
		"NVIDIA H200":                        "h200",
		"Tesla T4":                           "t4",
		"NVIDIA A100-SXM4-80GB":              "a100-80gb",
		"NVIDIA A100 80GB PCIe":              "a100-80gb",
		"NVIDIA GeForce RTX 4090":            "rtx-4090",
		"NVIDIA RTX 6000 Ada Generation":     "rtx-6000-ada-generation",
		"NVIDIA H100 80GB HBM3":              "h100-80gb",
		"Tesla V100-SXM2-16GB":               "v100-16gb",
		"NVIDIA Graphics Device":             "device",
		"NVIDIA":                             "gpu",
		"NVIDIA GeForce RTX 3080 Laptop GPU": "rtx-3080-laptop",
	} {
		require.Equal(t, class, GPU{Name: name}.Class(), name)
	}
}

func TestDetectThisMachine(t *testing.T) {
	t.Parallel()
	hardware := Detect(t.Context(), "/nonexistent/deep/below")
	require.NotEmpty(t, hardware.CPU.Model)
	require.Positive(t, hardware.CPU.Cores)
	require.Greater(t, hardware.Memory.Total, hardware.Memory.Available/2)
	require.NotZero(t, hardware.Disk.Total, "the nearest folder that exists counts")
}
