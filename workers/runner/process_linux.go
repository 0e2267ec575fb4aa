package runner

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
)

// bootID tells the starts of the machine apart: process start times count from it.
var bootID = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
})

// processStart returns when a process was started, in the system's own words, and whether it runs.
func processStart(pid int) (start string, alive bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The second field is the command's name in parentheses and may hold anything; count from behind it.
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	const state, startTime = 0, 19
	if len(fields) <= startTime || bytes.ContainsAny(fields[state], "ZX") {
		return "", false
	}
	return bootID() + "/" + string(fields[startTime]), true
}

// oomKills is how many processes the system has killed for want of memory; -1 where it does not say.
func oomKills() int64 {
	kills := int64(-1)
	for _, path := range []string{"/proc/vmstat", "/sys/fs/cgroup/memory.events"} {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			var n int64
			if _, err := fmt.Sscanf(line, "oom_kill %d", &n); err == nil {
				kills = max(kills, 0) + n
			}
		}
	}
	return kills
}
