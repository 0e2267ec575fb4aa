//go:build unix

package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// errStopped is a Ctrl-C in the middle of a restart.
var errStopped = errors.New("stopped")

// loop builds a binary and keeps the newest one running.
type loop struct {
	build  []string
	binary string
	args   []string
	say    io.Writer

	built [sha256.Size]byte // of the binary that runs, or has run last
	up    *exec.Cmd
	ended chan struct{} // closed once up has ended; nil if none was started
}

// run goes on until stop: each signal is handed on to the program, which may take its time.
func (l *loop) run(changes <-chan struct{}, stop <-chan os.Signal) error {
	for {
		if err := l.renew(stop); errors.Is(err, errStopped) {
			return nil
		} else if err != nil {
			return err
		}
		ended := l.ended
	wait:
		for {
			select {
			case <-changes:
				break wait
			case <-ended:
				l.tell("it ended (%s); the next change starts it again", l.up.ProcessState)
				ended, l.built = nil, [sha256.Size]byte{}
			case <-stop:
				l.interrupt(stop)
				return nil
			}
		}
	}
}

// renew builds, and puts the new binary in the place of the one that runs if they differ.
func (l *loop) renew(stop <-chan os.Signal) error {
	build := exec.Command(l.build[0], l.build[1:]...)
	build.Stdout, build.Stderr = l.say, l.say
	if err := build.Run(); err != nil {
		l.tell("the build failed; what runs goes on")
		return nil
	}
	sum, err := digest(l.binary)
	if err != nil || sum == l.built {
		return err
	}
	if l.running() {
		l.tell("stopping the old one")
		if hurried := l.interrupt(stop); hurried {
			return errStopped
		}
	}
	l.built = sum
	return l.start()
}

func digest(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), err
}

func (l *loop) start() error {
	l.up = exec.Command(l.binary, l.args...)
	l.up.Stdout, l.up.Stderr = os.Stdout, l.say
	l.up.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C at the terminal comes once, from us
	if err := l.up.Start(); err != nil {
		return err
	}
	up, ended := l.up, make(chan struct{})
	l.ended = ended
	go func() { _ = up.Wait(); close(ended) }()
	return nil
}

func (l *loop) running() bool {
	if l.ended == nil {
		return false
	}
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// interrupt stops the program as Ctrl-C does and waits until it has ended; a signal meanwhile hurries it.
func (l *loop) interrupt(stop <-chan os.Signal) (hurried bool) {
	if l.ended == nil {
		return false
	}
	for {
		_ = l.up.Process.Signal(os.Interrupt) // it may have ended already
		select {
		case <-l.ended:
			return hurried
		case <-stop:
			hurried = true
		}
	}
}

func (l *loop) tell(format string, args ...any) { fmt.Fprintf(l.say, "dev: "+format+"\n", args...) }
