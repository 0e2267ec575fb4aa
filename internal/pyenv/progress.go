package pyenv

import (
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/internal/diskuse"
)

// Phase is a step of the building.
type Phase string

// The phases, in order; those that are not needed do not occur.
const (
	PhaseWait      Phase = "wait"      // another process builds the environment
	PhasePython    Phase = "python"    // looking for an interpreter
	PhaseInstaller Phase = "installer" // getting uv
	PhaseDownload  Phase = "download"  // packages are fetched and unpacked
	PhaseInstall   Phase = "install"   // packages are put in place
	PhaseCheck     Phase = "check"
	PhaseReady     Phase = "ready"
)

// Progress says how far a build is. One arrives at least every two seconds while packages are fetched.
type Progress struct {
	Phase   Phase         `json:"phase"`
	Line    string        `json:"line,omitempty"` // what happens now, for people
	Elapsed time.Duration `json:"elapsed"`        // since Ensure was called
	// Bytes is how much the build has added to the disk so far.
	Bytes int64 `json:"bytes"`
}

const reportEvery = 2 * time.Second

// reporter serialises calls of the progress function and repeats the last one while sizes grow.
type reporter struct {
	mu      sync.Mutex
	tell    func(Progress)
	started time.Time
	last    Progress
}

func newReporter(tell func(Progress)) *reporter {
	if tell == nil {
		tell = func(Progress) {}
	}
	return &reporter{tell: tell, started: time.Now()}
}

func (r *reporter) say(phase Phase, line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last.Phase, r.last.Line = phase, line
	r.send()
}

func (r *reporter) send() {
	r.last.Elapsed = time.Since(r.started)
	r.tell(r.last)
}

// watch reports how much a folder grows until stop is called.
func (r *reporter) watch(dir string) (stop func()) {
	before := diskuse.Length(dir)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		pause := reportEvery
		for {
			select {
			case <-done:
				return
			case <-time.After(pause):
			}
			began := time.Now()
			now := diskuse.Length(dir)
			// Tens of thousands of files are looked at: never for more than a tenth of the time.
			pause = max(reportEvery, 9*time.Since(began))
			r.mu.Lock()
			r.last.Bytes = max(r.last.Bytes, now-before)
			r.send()
			r.mu.Unlock()
		}
	}()
	return func() { close(done); <-stopped }
}

func (r *reporter) phase() Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last.Phase
}
