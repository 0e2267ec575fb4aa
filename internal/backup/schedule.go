package backup

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

// Schedule says how often to back up, where to and how many to keep. The passphrase is read anew for each backup.
type Schedule struct {
	Every          time.Duration `json:"every,omitempty"`
	To             string        `json:"to,omitempty"`
	Keep           int           `json:"keep,omitempty"`
	PassphraseFile string        `json:"passphrase_file,omitempty"`
}

// State is how backups of a data folder go: backup.json in it.
type State struct {
	Schedule *Schedule `json:"schedule,omitempty"`
	Last     *Report   `json:"last,omitempty"` // that went well, scheduled or not
	// ScheduledAt is of which time the newest scheduled one is; Failed tells of the newest try, if it went wrong.
	ScheduledAt time.Time `json:"scheduled_at,omitzero"`
	Failed      *Failure  `json:"failed,omitempty"`
}

// Failure is a scheduled backup that went wrong. Times counts those in a row, since when Since is.
type Failure struct {
	At    time.Time       `json:"at"`
	Since time.Time       `json:"since"`
	Times int             `json:"times"`
	Error *contract.Error `json:"error"`
}

const stateFile = "backup.json"

// ReadState reads how backups go; the zero State where there was none.
func ReadState(root string) (s State, err error) {
	content, err := os.ReadFile(filepath.Join(root, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	return s, err
}

func (s State) save(dir *datadir.Dir) error {
	content, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return datadir.WriteFile(filepath.Join(dir.Root(), stateFile), append(content, '\n'))
}

// Unscheduled writes down that no backups are made by themselves (any more), so that none are missed.
func Unscheduled(dir *datadir.Dir) error {
	state, err := ReadState(dir.Root())
	if err != nil || state.Schedule == nil {
		return err
	}
	state.Schedule = nil
	return state.save(dir)
}

// Overdue tells that a scheduled backup should have been made long since.
func (s State) Overdue(now time.Time) bool {
	return s.Schedule != nil && !s.ScheduledAt.IsZero() && now.Sub(s.ScheduledAt) > 2*s.Schedule.Every
}

// Record makes a backup, and writes down how it went.
func Record(ctx context.Context, options Options) (Report, error) {
	report, err := Run(ctx, options)
	if ctx.Err() != nil || contract.CodeOf(err) == contract.CodeInUse {
		return report, err
	}
	state, _ := ReadState(options.Dir.Root()) // a damaged one is made anew
	switch {
	case err == nil && options.Scheduled:
		state.Last, state.ScheduledAt, state.Failed = &report, report.At, nil
		return report, state.save(options.Dir)
	case err == nil:
		state.Last = &report
		return report, state.save(options.Dir)
	case !options.Scheduled:
		return report, err
	}
	return report, errors.Join(err, state.failed(err, time.Now().UTC()).save(options.Dir))
}

func (s State) failed(err error, at time.Time) State {
	var typed *contract.Error
	if !errors.As(err, &typed) {
		typed = &contract.Error{Code: contract.CodeInternal, Message: err.Error()}
	}
	failure := Failure{At: at, Since: at, Times: 1, Error: typed}
	if s.Failed != nil {
		failure.Since, failure.Times = s.Failed.Since, s.Failed.Times+1
	}
	s.Failed = &failure
	return s
}

// again is when a failed backup is tried again: room on a disk or a mounted folder may come back at any time.
const again = 5 * time.Minute

// Scheduler makes the scheduled backups of a data folder.
type Scheduler struct {
	Dir      *datadir.Dir
	Schedule Schedule
	Version  string
	Log      *slog.Logger

	again time.Duration
}

// Run makes backups until ctx ends: the first when one is due, which it is at once where there has been none. A failure is
// logged, stands in the state for doctor and the API, and is tried again in minutes.
func (s *Scheduler) Run(ctx context.Context) {
	for {
		wait := s.due()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		s.once(ctx)
	}
}

// due is how long it is until the next backup.
func (s *Scheduler) due() time.Duration {
	state, _ := ReadState(s.Dir.Root())
	state.Schedule = &s.Schedule
	if err := state.save(s.Dir); err != nil {
		s.Log.Error("how backups go cannot be written down", "error", err)
	}
	now := time.Now()
	switch {
	case state.Failed != nil:
		return max(0, state.Failed.At.Add(s.patience()).Sub(now))
	case state.ScheduledAt.IsZero():
		return 0
	}
	// A clock that was set back must not put a backup off for longer than the schedule says.
	return min(max(0, state.ScheduledAt.Add(s.Schedule.Every).Sub(now)), s.Schedule.Every)
}

func (s *Scheduler) patience() time.Duration {
	if s.again > 0 {
		return s.again
	}
	return min(again, s.Schedule.Every)
}

func (s *Scheduler) once(ctx context.Context) {
	passphrase, err := Passphrase(s.Schedule.PassphraseFile)
	report := Report{}
	if err == nil {
		report, err = Record(ctx, Options{Dir: s.Dir, To: s.Schedule.To, Passphrase: passphrase, Keep: s.Schedule.Keep, Version: s.Version, Scheduled: true})
	} else {
		state, _ := ReadState(s.Dir.Root())
		_ = state.failed(err, time.Now().UTC()).save(s.Dir)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.Log.Error("the scheduled backup failed", "to", s.Schedule.To, "error", err)
		s.rest(ctx)
	default:
		s.Log.Info("backed up", "path", report.Path, "bytes", report.Bytes, "copied", report.Copied, "seconds", report.Seconds,
			"held_ms", report.HeldMS, "encrypted", report.Encrypted, "missing", len(report.Missing))
	}
}

// rest keeps a failure that cannot even be written down from being tried again at once.
func (s *Scheduler) rest(ctx context.Context) {
	timer := time.NewTimer(min(s.patience(), time.Minute))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
