package hardware

import (
	"strings"

	"golang.org/x/sys/unix"
)

// systemCPU asks the kernel; macOS has no /proc.
func systemCPU() (model string, flags []string) {
	model, _ = unix.Sysctl("machdep.cpu.brand_string")
	features, _ := unix.Sysctl("machdep.cpu.leaf7_features")
	return model, strings.Fields(strings.ToLower(features))
}

// systemMemory reports all memory as available: macOS compresses and swaps on its own terms.
func systemMemory() Memory {
	total, _ := unix.SysctlUint64("hw.memsize")
	return Memory{Total: total, Available: total}
}
