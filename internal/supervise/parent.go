package supervise

import (
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const envParentFD = "VIBEFLOW_PARENT_FD"

// WatchParent is called once by each process that `up` may have started, early in main. If `up` dies, even by
// kill -9, it calls gone, from another goroutine, and the process should stop as it would for SIGTERM. In a process
// that was started by hand it does nothing.
func WatchParent(gone func()) {
	fd, err := strconv.Atoi(os.Getenv(envParentFD))
	if err != nil || fd < 3 {
		return
	}
	// Neither the descriptor nor its number is for what this process starts in its turn.
	_ = os.Unsetenv(envParentFD)
	syscall.CloseOnExec(fd)
	// Log lines go to a pipe that `up` reads. Without it a write would end this process by SIGPIPE, in the middle of
	// stopping; handled, the write merely fails. (Notify rather than Ignore: processes inherit what is ignored.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	pipe := os.NewFile(uintptr(fd), "parent")
	go func() {
		_, _ = pipe.Read(make([]byte, 1)) // nothing is ever written: this returns at the end of `up`
		_ = pipe.Close()
		gone()
	}()
}
