package doctor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackupsAreLookedAt(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		state  string
		status Status
		found  string
	}{
		"none":     {"", OK, "none yet"},
		"made":     {`{"last":{"path":"/b.tar","at":"2026-03-01T11:00:00Z"}}`, OK, "1h0m0s ago: /b.tar"},
		"overdue":  {`{"schedule":{"every":3600000000000},"scheduled_at":"2026-02-28T11:00:00Z","last":{"path":"/b.tar","at":"2026-02-28T11:00:00Z"}}`, Warn, "25h0m0s ago"},
		"failing":  {`{"failed":{"times":3,"error":{"code":"disk_full","message":"the disk is full","remedy":"make room"}}}`, Warn, "the disk is full"},
		"missing":  {`{"last":{"path":"/b.tar","at":"2026-03-01T11:00:00Z","missing":["obj_1"]}}`, Warn, "1 stored files"},
		"damaged":  {`{`, Warn, "unknown"},
		"to begin": {`{"schedule":{"every":3600000000000}}`, OK, "scheduled"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if test.state != "" {
				require.NoError(t, os.WriteFile(filepath.Join(root, "backup.json"), []byte(test.state), 0o600))
			}
			check := checkBackup(Options{DataDir: root, now: func() time.Time { return now }})
			require.Equal(t, test.status, check.Status)
			require.Contains(t, check.Found, test.found)
			require.True(t, test.status == OK || check.Remedy != "")
		})
	}
}
