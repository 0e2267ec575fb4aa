package hardware

import (
	"io/fs"
	"math"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// cpu reads /proc/cpuinfo; elsewhere than on Linux the system is asked.
func (p Probe) cpu() CPU {
	found := CPU{Cores: p.cores(), Flags: []string{}}
	model, flags := systemCPU()
	text, err := fs.ReadFile(p.Root, "proc/cpuinfo")
	if err == nil {
		model, flags = parseCPUInfo(string(text))
	}
	found.Model = model
	for _, flag := range Flags {
		if slices.Contains(flags, flag) {
			found.Flags = append(found.Flags, flag)
		}
	}
	return found
}

// parseCPUInfo takes the first processor's lines: x86 has "model name" and "flags", ARM "Features".
func parseCPUInfo(text string) (model string, flags []string) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name", "Model":
			if model == "" {
				model = value
			}
		case "flags", "Features":
			if flags == nil {
				flags = strings.Fields(value)
			}
		}
	}
	return model, flags
}

// cores is what affinity (NumCPU) and a container's quota leave, at least one.
func (p Probe) cores() int {
	cores := runtime.NumCPU()
	for _, dir := range p.cgroups("cpu") {
		if quota, ok := p.quota(dir); ok {
			cores = min(cores, max(1, int(math.Ceil(quota))))
		}
	}
	return cores
}

// quota reads "max 100000" or "150000 100000" (version 2), or the two files of version 1.
func (p Probe) quota(dir string) (cores float64, ok bool) {
	fields := strings.Fields(p.text(path.Join(dir, "cpu.max")))
	if len(fields) != 2 {
		fields = []string{p.text(path.Join(dir, "cpu.cfs_quota_us")), p.text(path.Join(dir, "cpu.cfs_period_us"))}
	}
	quota, err := strconv.ParseFloat(fields[0], 64)
	period, errPeriod := strconv.ParseFloat(fields[1], 64)
	if err != nil || errPeriod != nil || quota <= 0 || period <= 0 {
		return 0, false
	}
	return quota / period, true
}

// memory is that of /proc/meminfo, lowered by the limits of every enclosing control group.
func (p Probe) memory() Memory {
	found := systemMemory()
	if text := p.text("proc/meminfo"); text != "" {
		found = Memory{Total: meminfo(text, "MemTotal"), Available: meminfo(text, "MemAvailable")}
	}
	for _, dir := range p.cgroups("memory") {
		limit, used := p.memoryLimit(dir)
		if limit == 0 || limit >= found.Total {
			continue
		}
		found.Total = limit
		found.Available = min(found.Available, limit-min(used, limit))
	}
	return found
}

// memoryLimit returns a group's limit, 0 for none, and what of it is used; file cache that can be dropped is not.
func (p Probe) memoryLimit(dir string) (limit, used uint64) {
	for _, names := range [][3]string{
		{"memory.max", "memory.current", "inactive_file"},
		{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
	} {
		limit, err := strconv.ParseUint(p.text(path.Join(dir, names[0])), 10, 64)
		if err != nil {
			continue // "max", or the other version
		}
		used, _ := strconv.ParseUint(p.text(path.Join(dir, names[1])), 10, 64)
		cache := statValue(p.text(path.Join(dir, "memory.stat")), names[2])
		return limit, used - min(cache, used)
	}
	return 0, 0
}

func meminfo(text, key string) uint64 {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == key+":" {
			kib, _ := strconv.ParseUint(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}

func statValue(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); name == key {
			n, _ := strconv.ParseUint(value, 10, 64)
			return n
		}
	}
	return 0
}

// cgroups lists the folders of this process's control group and of those around it, for version 2 and for a
// controller of version 1. Inside a container the group's own path is often not there; its root is then the limit.
func (p Probe) cgroups(controller string) []string {
	dirs := []string{}
	for line := range strings.Lines(p.text("proc/self/cgroup")) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		root := "sys/fs/cgroup"
		if fields[1] != "" {
			if !slices.Contains(strings.Split(fields[1], ","), controller) {
				continue
			}
			root = path.Join(root, controller)
		}
		for dir := path.Join("/", fields[2]); ; dir = path.Dir(dir) {
			dirs = append(dirs, path.Join(root, dir))
			if dir == "/" {
				break
			}
		}
	}
	return dirs
}

// text is a small file's content, trimmed; empty if it is not there.
func (p Probe) text(name string) string {
	content, err := fs.ReadFile(p.Root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}
