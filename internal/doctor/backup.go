package doctor

import (
	"cmp"
	"fmt"
	"time"

	"github.com/vibeflow/vibeflow/internal/backup"
)

// checkBackup tells when the last backup was made, and of those that failed or are overdue.
func checkBackup(options Options) Check {
	const when = "2006-01-02 15:04"
	check := Check{Name: "backup", Status: OK}
	state, err := backup.ReadState(options.DataDir)
	now := options.now()
	switch {
	case err != nil:
		check.Status, check.Found, check.Remedy = Warn, "how backups go is unknown: "+err.Error(), "make one: vibeflow backup"
	case state.Failed != nil:
		check.Status = Warn
		check.Found = fmt.Sprintf("failing since %s (%d times, last at %s): %s", state.Failed.Since.Local().Format(when), state.Failed.Times,
			state.Failed.At.Local().Format(when), state.Failed.Error.Message)
		check.Remedy = cmp.Or(state.Failed.Error.Remedy, "see the log; a scheduled backup is tried again by itself")
	case state.Last == nil && state.Schedule == nil:
		check.Found = "none yet"
		check.Remedy = "vibeflow backup; or by itself: vibeflow up --backup-every 24h --backup-to FOLDER"
	case state.Last == nil:
		check.Found = "scheduled, none made yet"
	default:
		check.Found = fmt.Sprintf("%s ago: %s", now.Sub(state.Last.At).Round(time.Minute), state.Last.Path)
		if len(state.Last.Missing) > 0 {
			check.Status, check.Found = Warn, fmt.Sprintf("%s; %d stored files are missing in the data folder", check.Found, len(state.Last.Missing))
			check.Remedy = "an older backup may have them"
		}
		if state.Overdue(now) {
			check.Status, check.Remedy = Warn, "overdue: start VibeFlow (backups are made while it runs), or see its log"
		}
	}
	return check
}
