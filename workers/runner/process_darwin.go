package runner

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// zombie is SZOMB of sys/proc.h.
const zombie = 5

// processStart returns when a process was started, in the system's own words, and whether it runs.
func processStart(pid int) (start string, alive bool) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid || info.Proc.P_stat == zombie {
		return "", false
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec), true
}

// oomKills is how many processes the system has killed for want of memory; -1 where it does not say.
func oomKills() int64 { return -1 }
