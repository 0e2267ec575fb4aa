package store

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
)

// TestAFullDiskLeavesNothingHalfDone: writes are refused whole, readers read on, and once there is room the same store
// writes on.
func TestAFullDiskLeavesNothingHalfDone(t *testing.T) {
	smalldisk.Run(t, 8<<20, func(t *testing.T, dir string) {
		reserve := filepath.Join(dir, "reserve")
		require.NoError(t, os.WriteFile(reserve, make([]byte, 3<<20), 0o600))
		s, err := openAt(t, filepath.Join(dir, "app.db"), masterKey)
		require.NoError(t, err)
		create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
		message := strings.Repeat("a line of the log ", 2000)
		step := func() error {
			_, err := s.Append(t.Context(), "job/job_1", ev("runner.log", map[string]any{"message": message}), ev("runner.metrics", map[string]any{"step": 1}))
			return err
		}
		told := int64(0)
		for err = nil; err == nil; err = step() { // a disk that fills up bit by bit fails in the middle of a transaction
			told, err = s.LastSeq(t.Context(), "job/job_1")
			require.NoError(t, err)
		}
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		smalldisk.Fill(t, dir, 0)
		for range 3 {
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(step()))
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(s.Writable(t.Context())))
			_, err = s.Create(t.Context(), Creation{Kind: contract.KindJob, ID: "job_2", Payload: contract.JobCreated{}})
			require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		}
		last, err := s.LastSeq(t.Context(), "job/job_1")
		require.NoError(t, err)
		require.Equal(t, told, last)
		job, err := s.GetJob(t.Context(), "job_1")
		require.NoError(t, err)
		require.Equal(t, last, job.Seq, "the row is of the last event")
		_, err = s.GetJob(t.Context(), "job_2")
		require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))

		smalldisk.Free(t, dir)
		require.NoError(t, os.Remove(reserve))
		require.NoError(t, s.Writable(t.Context()))
		require.NoError(t, step())
		live := snapshot(t, s)
		require.NoError(t, s.Rebuild(t.Context()))
		require.ElementsMatch(t, live, snapshot(t, s))
		require.NoError(t, s.Close())
	})
}

func TestAFullDiskAtTheStart(t *testing.T) {
	smalldisk.Run(t, 4<<20, func(t *testing.T, dir string) {
		path := filepath.Join(dir, "app.db")
		smalldisk.Fill(t, dir, 0)
		_, err := openAt(t, path, masterKey)
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)
		smalldisk.Free(t, dir)
		s, err := openAt(t, path, masterKey)
		require.NoError(t, err)
		tellEverything(t, s)
		require.NoError(t, s.Close())
	})
}

// TestSealingOnASmallDisk: where there is no room to rewrite the file, what was in the clear is sealed all the same, and the
// file is rewritten once there is room.
func TestSealingOnASmallDisk(t *testing.T) {
	smalldisk.Run(t, 4<<20, func(t *testing.T, dir string) {
		from, want := earlier(t)
		content, err := os.ReadFile(from)
		require.NoError(t, err)
		path := filepath.Join(dir, "app.db")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		smalldisk.Fill(t, dir, 0)
		_, err = openAt(t, path, masterKey)
		require.Equal(t, contract.CodeDiskFull, contract.CodeOf(err), "%v", err)

		smalldisk.Free(t, dir)
		s, err := openAt(t, path, masterKey)
		require.NoError(t, err)
		requireTold(t, want, everything(t, s))
		require.NoError(t, s.Close())
		require.Empty(t, inTheClear(t, dir))
	})
}

// TestRewritingIsPutOffUntilThereIsRoom: a server with a nearly full disk starts all the same.
func TestRewritingIsPutOffUntilThereIsRoom(t *testing.T) {
	smalldisk.Run(t, 4<<20, func(t *testing.T, dir string) {
		path := filepath.Join(dir, "app.db")
		s, err := openAt(t, path, masterKey)
		require.NoError(t, err)
		for _, statement := range []string{
			`CREATE TABLE old (x); INSERT INTO old VALUES ('` + strings.Repeat(marker, 20_000) + `')`, `DROP TABLE old`,
			`UPDATE content_keys SET state = 'scrubbing'`,
		} {
			_, err := s.writer.ExecContext(t.Context(), statement)
			require.NoError(t, err)
		}
		require.NoError(t, s.Close())
		require.Equal(t, []string{"app.db"}, inTheClear(t, dir))
		for _, room := range []int64{200 << 10, 2 << 20} {
			smalldisk.Free(t, dir)
			smalldisk.Fill(t, dir, room)
			s, err = openAt(t, path, masterKey)
			require.NoError(t, err)
			require.NoError(t, s.Close())
			if room == 200<<10 {
				require.Equal(t, []string{"app.db"}, inTheClear(t, dir), "there was room: the test tests nothing")
			}
		}
		require.Empty(t, inTheClear(t, dir))
	})
}

// TestADatabaseThatMayNotBeWritten says so, reads on, and writes on once it may.
func TestADatabaseThatMayNotBeWritten(t *testing.T) {
	s := open(t)
	create(t, s, contract.KindJob, "job_1", contract.JobCreated{})
	only := func(on string) {
		_, err := s.writer.ExecContext(t.Context(), `PRAGMA query_only = `+on) // SQLite answers as for a read-only file
		require.NoError(t, err)
	}
	only("ON")
	_, err := s.Append(t.Context(), "job/job_1", ev("runner.log", struct{}{}))
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "%v", err)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(s.Writable(t.Context())))
	_, err = s.GetJob(t.Context(), "job_1")
	require.NoError(t, err)
	only("OFF")
	require.NoError(t, s.Writable(t.Context()))
	version := s.Version()
	require.NoError(t, s.Writable(t.Context()))
	require.Equal(t, version, s.Version(), "looking makes nothing new")
}

// TestNothingAcknowledgedIsLost asks SQLite how the writing connection is set.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	s := open(t)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var is string
		require.NoError(t, s.writer.QueryRowContext(t.Context(), `PRAGMA `+pragma).Scan(&is))
		require.Equal(t, want, is, pragma)
	}
}
