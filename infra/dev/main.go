//go:build unix

// Command dev runs VibeFlow for those who change it (`go tool task dev`). Whenever a file of the checkout changes it builds,
// and once the binary has become another one it stops `up` as Ctrl-C does and starts the new one. A build that fails leaves
// running what runs.
//
//	go run ./infra/dev [FLAGS OF up]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is for how long nothing may change before a build: editors and git write several files.
const settle = 300 * time.Millisecond

func main() {
	l := &loop{build: []string{"go", "tool", "task", "build"}, binary: filepath.Join("bin", "vibeflow"), args: append([]string{"up"}, os.Args[1:]...), say: os.Stderr}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	if err := run(l, ".", stop); err != nil {
		fmt.Fprintln(os.Stderr, "dev:", err)
		os.Exit(1)
	}
}

func run(l *loop, checkout string, stop <-chan os.Signal) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, err := watch(checkout)
	if err != nil {
		return err
	}
	defer func() { _ = w.events.Close() }()
	go w.tell(ctx)
	return l.run(w.changes, stop)
}

// watcher tells of changes in a checkout's folders, as git knows them: what is ignored is made, not written.
type watcher struct {
	checkout string
	events   *fsnotify.Watcher
	changes  chan struct{}
}

func watch(checkout string) (*watcher, error) {
	events, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	w := &watcher{checkout, events, make(chan struct{}, 1)}
	if err := w.addFolders(); err != nil {
		return nil, errors.Join(err, events.Close())
	}
	return w, nil
}

func (w *watcher) addFolders() error {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = w.checkout
	files, err := list.Output()
	if err != nil {
		return fmt.Errorf("this is no git checkout: %w", err)
	}
	folders := map[string]bool{w.checkout: true}
	for file := range strings.SplitSeq(string(files), "\x00") {
		for folder := filepath.Dir(file); folder != "."; folder = filepath.Dir(folder) {
			folders[filepath.Join(w.checkout, folder)] = true
		}
	}
	for folder := range folders {
		if err := w.events.Add(folder); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("watch %s: %w", folder, err)
		}
	}
	return nil
}

// tell hands on that something changed, once all is quiet, and looks after folders that are new.
func (w *watcher) tell(ctx context.Context) {
	quiet := time.NewTimer(settle)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.events.Events:
			if e.Op != fsnotify.Chmod {
				quiet.Reset(settle)
			}
		case <-w.events.Errors: // too many at once: something has changed
			quiet.Reset(settle)
		case <-quiet.C:
			_ = w.addFolders() // a checkout in the middle of a rebase: the next change is near
			select {
			case w.changes <- struct{}{}:
			default:
			}
		}
	}
}
