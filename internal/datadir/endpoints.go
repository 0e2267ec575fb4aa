package datadir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// Process is one of the long-lived processes of VibeFlow; it is also the name of its lock and its log.
type Process string

// The processes: design §2.
const (
	ProcessUp       Process = "up"
	ProcessTemporal Process = "temporal"
	ProcessServer   Process = "server"
	ProcessWorker   Process = "worker"
)

// Endpoints says where a data folder's processes listen. A field is empty while its process is not ready.
type Endpoints struct {
	Server          string `json:"server,omitempty"`           // http://127.0.0.1:8400, for this machine's own processes
	Public          string `json:"public,omitempty"`           // https://0.0.0.0:443, where the server speaks TLS to others
	TemporalAddress string `json:"temporal_address,omitempty"` // 127.0.0.1:7233
	TemporalUI      string `json:"temporal_ui,omitempty"`      // http://127.0.0.1:8233/temporal, wants the Temporal token
}

const awaitPoll = 25 * time.Millisecond

type published struct {
	PID int `json:"pid"`
	Endpoints
}

// Publish is called by a process once it is ready: it writes where it listens to run/<process>.json.
func (d *Dir) Publish(process Process, at Endpoints) error {
	content, err := json.MarshalIndent(published{PID: os.Getpid(), Endpoints: at}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode endpoints: %w", err)
	}
	return WriteFile(d.join("run", string(process)+".json"), append(content, '\n'))
}

// Unpublish withdraws what a process published; withdrawing nothing is no error.
func (d *Dir) Unpublish(process Process) error {
	err := os.Remove(d.join("run", string(process)+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Published returns what a process published last, and its pid; ok is false if it has published nothing. A killed
// process leaves its file behind, so compare the pid, or Owner, before trusting it.
func (d *Dir) Published(process Process) (at Endpoints, pid int, ok bool) {
	content, err := os.ReadFile(d.join("run", string(process)+".json"))
	if err != nil {
		return Endpoints{}, 0, false
	}
	var p published
	if json.Unmarshal(content, &p) != nil {
		return Endpoints{}, 0, false
	}
	return p.Endpoints, p.PID, true
}

// Endpoints joins what the processes published. It fails with CodeUnavailable if none has.
func (d *Dir) Endpoints() (Endpoints, error) {
	var all Endpoints
	server, _, serverOK := d.Published(ProcessServer)
	temporal, _, temporalOK := d.Published(ProcessTemporal)
	if !serverOK && !temporalOK {
		return all, d.NotRunning()
	}
	all.Server, all.Public = server.Server, server.Public
	all.TemporalAddress, all.TemporalUI = temporal.TemporalAddress, temporal.TemporalUI
	return all, nil
}

// AwaitPublished waits until a live process has published where it listens, and returns that. A file that a killed
// process left behind does not count: the one who published it must hold the process's lock.
func (d *Dir) AwaitPublished(ctx context.Context, process Process) (Endpoints, error) {
	for {
		if at, pid, ok := d.Published(process); ok {
			if owner, held := d.Owner(string(process)); held && owner == pid {
				return at, nil
			}
		}
		select {
		case <-ctx.Done():
			return Endpoints{}, contract.Errorf(contract.CodeUnavailable, "`vibeflow %s` is not running on %s: %w",
				process, d.root, ctx.Err()).Mend("start it, or start all of VibeFlow with `%s`", startCommand(d.root))
		case <-time.After(awaitPoll):
		}
	}
}
