package runner

import (
	"errors"
	"syscall"
	"time"
)

// Process names a process so that another one that was given its number is not taken for it.
type Process struct {
	PID   int
	Start string // as processStart tells it
}

// FindProcess names the process with a number; if there is none, the answer is not alive.
func FindProcess(pid int) Process {
	start, _ := processStart(pid)
	return Process{PID: pid, Start: start}
}

// Alive reports whether the process runs. A zombie does not: its parent may be slow to bury it, or not care.
func (p Process) Alive() bool {
	if p.PID <= 1 {
		return false
	}
	start, alive := processStart(p.PID)
	return alive && start == p.Start
}

// Terminate asks the process to save and leave.
func (p Process) Terminate() { p.signal(p.PID, syscall.SIGTERM) }

// DumpStacks has a Python process write every thread's stack to its stderr; one that was stopped is woken for it.
func (p Process) DumpStacks() {
	p.signal(p.PID, syscall.SIGUSR1)
	p.signal(p.PID, syscall.SIGCONT)
}

// Kill ends the process and its children (it leads a process group of its own) without asking.
func (p Process) Kill() {
	p.signal(-p.PID, syscall.SIGKILL)
	p.signal(p.PID, syscall.SIGKILL)
}

func (p Process) signal(target int, number syscall.Signal) {
	if !p.Alive() {
		return
	}
	// It may have ended since, or lead no group: there is nothing to do about either.
	_ = syscall.Kill(target, number)
}

// exitPoll is how often a process that is not our child is looked at.
const exitPoll = 50 * time.Millisecond

// awaitExit returns when the process is gone or stop is closed.
func (p Process) awaitExit(stop <-chan struct{}) (gone bool) {
	ticker := time.NewTicker(exitPoll)
	defer ticker.Stop()
	for p.Alive() {
		select {
		case <-stop:
			return false
		case <-ticker.C:
		}
	}
	return true
}

// AwaitExit waits at most patience for the process to be gone.
func (p Process) AwaitExit(patience time.Duration) (gone bool) {
	stop := make(chan struct{})
	timer := time.AfterFunc(patience, func() { close(stop) })
	defer timer.Stop()
	return p.awaitExit(stop)
}

// killAndWait kills the process and waits until it is gone: two runners must never write one checkpoints folder.
func (p Process) killAndWait(patience time.Duration) error {
	p.Kill()
	if !p.AwaitExit(patience) {
		return errors.New("a killed runner does not go away")
	}
	return nil
}
