package embedded

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/server/common/headers"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/smalldisk"
	files "github.com/vibeflow/vibeflow/internal/sqlite"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

// release is this one, moved by some minor releases and patches.
func release(t *testing.T, minor, patch int) string {
	t.Helper()
	is, ok := parseRelease(headers.ServerVersion)
	require.True(t, ok)
	return fmt.Sprintf("%d.%d.%d", is[0], is[1]+minor, is[2]+patch)
}

// stamped says that a release wrote a database.
func stamped(t *testing.T, dir *datadir.Dir, server string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir.TemporalDir(), stampFile), []byte(`{"server":"`+server+`"}`), 0o600))
}

// serving runs a server on the folder until stop is called.
func serving(t *testing.T, dir *datadir.Dir) (c client.Client, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan datadir.Endpoints, 1), make(chan error, 1)
	server := New(Options{DataDir: dir, Token: "secret", AnyPorts: true, Logger: quiet, Ready: func(at datadir.Endpoints) { ready <- at }})
	go func() { ended <- server.Run(ctx) }()
	var at datadir.Endpoints
	select {
	case at = <-ready:
	case err := <-ended:
		require.NoError(t, err)
	}
	c, err := temporalclient.Dial(t.Context(), temporalclient.Options{Address: at.TemporalAddress, Token: "secret", Logger: quiet})
	require.NoError(t, err)
	return c, func() { c.Close(); cancel(); require.NoError(t, <-ended) }
}

func sqlOn(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for _, statement := range statements {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
}

// older makes the database of a release before: a table, a generated column and an index are still to come.
func older(t *testing.T, dir *datadir.Dir) {
	t.Helper()
	sqlOn(t, dir.TemporalDB(), `DROP TABLE current_chasm_executions`, `DROP INDEX by_keyword_01`,
		`DROP TRIGGER executions_visibility_ai`, `DROP TRIGGER executions_visibility_ad`, `DROP TRIGGER executions_visibility_au`,
		`ALTER TABLE executions_visibility DROP COLUMN TemporalExternalPayloadCount`)
	stamped(t, dir, release(t, -1, 3))
}

// TestADatabaseOfTheReleaseBeforeIsUpgraded: workflows that were open then go on, and are found.
func TestADatabaseOfTheReleaseBeforeIsUpgraded(t *testing.T) {
	dir := newDataDir(t)
	c, stop := serving(t, dir)
	_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "train/job_1", TaskQueue: "nobody"}, "Train")
	require.NoError(t, err)
	stop()
	dir = moved(t, dir)
	older(t, dir)

	c, stop = serving(t, dir)
	require.NoError(t, c.SignalWorkflow(t.Context(), "train/job_1", "", "cancel", nil), "the workflow is there")
	require.Eventually(t, func() bool {
		found, err := c.CountWorkflow(t.Context(), countRunning())
		return err == nil && found.GetCount() == 1
	}, 20*time.Second, 50*time.Millisecond, "and is listed")
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "train/job_2", TaskQueue: "nobody"}, "Train")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		found, err := c.CountWorkflow(t.Context(), countRunning())
		return err == nil && found.GetCount() == 2
	}, 20*time.Second, 50*time.Millisecond, "the indexes follow what comes")
	stop()

	before := dir.TemporalDB() + beforeInfix + headers.ServerVersion
	require.FileExists(t, before, "the old one is kept")
	info, err := os.Stat(before)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	fresh := filepath.Join(t.TempDir(), "fresh.db")
	require.NoError(t, buildSchema(fresh))
	require.Equal(t, schemaOf(t, fresh), schemaOf(t, dir.TemporalDB()))
	content, err := os.ReadFile(filepath.Join(dir.TemporalDir(), stampFile))
	require.NoError(t, err)
	require.Contains(t, string(content), headers.ServerVersion)
	require.Contains(t, string(content), "schema")
}

// moved copies the database to another folder: Temporal never closes its connections to it in this process.
func moved(t *testing.T, from *datadir.Dir) *datadir.Dir {
	t.Helper()
	to := newDataDir(t)
	sqlOn(t, from.TemporalDB(), `VACUUM INTO '`+to.TemporalDB()+`'`)
	require.NoError(t, os.Chmod(to.TemporalDB(), 0o600))
	return to
}

func countRunning() *workflowservice.CountWorkflowExecutionsRequest {
	return &workflowservice.CountWorkflowExecutionsRequest{Namespace: contract.Namespace, Query: `ExecutionStatus = "Running"`}
}

// made is a folder with a database of this release.
func made(t *testing.T) *datadir.Dir {
	t.Helper()
	dir := newDataDir(t)
	require.NoError(t, createDatabase(dir.TemporalDir(), dir.TemporalDB()))
	return dir
}

// look does what a start does first.
func look(dir *datadir.Dir) error { return goOnWith(dir.TemporalDir(), dir.TemporalDB(), quiet) }

func schemaOf(t *testing.T, path string) (all []string) {
	t.Helper()
	db, err := openFile(path)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	rows, err := db.QueryContext(t.Context(), `SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_schema ORDER BY 1`)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var line string
		require.NoError(t, rows.Scan(&line))
		all = append(all, line)
	}
	require.NoError(t, rows.Err())
	return all
}

func TestReleasesThatCannotBeGoneOnWithAreRefusedUntouched(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ release, says string }{
		"a newer patch":        {release(t, 0, 1), "newer"},
		"a newer minor":        {release(t, 1, 0), "newer"},
		"a newer major":        {"9.0.0", "newer"},
		"two minors older":     {release(t, -2, 0), "too old"},
		"an older major":       {"0.32.1", "too old"},
		"a release that is no": {"1.x", "no release"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := made(t)
			stamped(t, dir, test.release)
			was, err := os.ReadFile(dir.TemporalDB())
			require.NoError(t, err)
			err = look(dir)
			require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, test.says)
			var typed *contract.Error
			require.ErrorAs(t, err, &typed)
			require.NotEmpty(t, typed.Remedy)
			is, err := os.ReadFile(dir.TemporalDB())
			require.NoError(t, err)
			require.Equal(t, was, is)
			require.Equal(t, contract.CodePrerequisite, contract.CodeOf(Usable(test.release)), "nor is a backup of it")
		})
	}
	for _, fine := range []string{headers.ServerVersion, release(t, -1, 0)} {
		require.NoError(t, Usable(fine))
	}
}

// TestAnUpgradeThatWouldLoseIsRefused: the older release had a column that this one has not.
func TestAnUpgradeThatWouldLoseIsRefused(t *testing.T) {
	t.Parallel()
	dir := made(t)
	sqlOn(t, dir.TemporalDB(), `ALTER TABLE executions ADD COLUMN more TEXT`)
	stamped(t, dir, release(t, -1, 0))
	err := look(dir)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "executions.more")
	require.NoFileExists(t, dir.TemporalDB()+".new")
	require.Equal(t, release(t, -1, 0), stampOf(t, dir))
}

func stampOf(t *testing.T, dir *datadir.Dir) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir.TemporalDir(), stampFile))
	require.NoError(t, err)
	var server string
	_, err = fmt.Sscanf(string(content), `{"server":%q`, &server)
	require.NoError(t, err)
	return server
}

// TestAnUpgradeOnAFullDisk leaves the old database, and succeeds once there is room.
func TestAnUpgradeOnAFullDisk(t *testing.T) {
	smalldisk.Run(t, 32<<20, func(t *testing.T, disk string) {
		dir, err := datadir.Open(filepath.Join(disk, "data"))
		require.NoError(t, err)
		require.NoError(t, createDatabase(dir.TemporalDir(), dir.TemporalDB()))
		older(t, dir)
		smalldisk.Fill(t, disk, 100<<10)
		err = look(dir)
		require.Error(t, err)
		require.Equal(t, release(t, -1, 3), stampOf(t, dir))
		smalldisk.Free(t, disk)
		require.NoError(t, look(dir))
		require.Equal(t, headers.ServerVersion, stampOf(t, dir))
	})
}

// TestAnUpgradeThatWasCutOffIsFinished: the new database has its name, and the stamp is still the old one's.
func TestAnUpgradeThatWasCutOffIsFinished(t *testing.T) {
	t.Parallel()
	dir := made(t)
	older(t, dir)
	require.NoError(t, look(dir))
	before, err := os.ReadFile(dir.TemporalDB() + beforeInfix + headers.ServerVersion)
	require.NoError(t, err)
	stamped(t, dir, release(t, -1, 3))
	require.NoError(t, os.WriteFile(dir.TemporalDB()+".new", []byte("half"), 0o600))
	require.NoError(t, look(dir))
	again, err := os.ReadFile(dir.TemporalDB() + beforeInfix + headers.ServerVersion)
	require.NoError(t, err)
	require.Equal(t, before, again, "what was before the upgrade is kept, not what came of half of it")
	require.Equal(t, headers.ServerVersion, stampOf(t, dir))
}

// TestTheDatabaseLosesNothingAcknowledged asks SQLite, while the server runs.
func TestTheDatabaseLosesNothingAcknowledged(t *testing.T) {
	dir := newDataDir(t)
	_, stop := serving(t, dir)
	defer stop()
	require.FileExists(t, dir.TemporalDB()+"-wal")
	// The server's own connection cannot be asked; this one is opened as it opens its own.
	attributes := url.Values{}
	for name, value := range sqlConfig(dir.TemporalDB()).ConnectAttributes {
		if name != "mode" {
			attributes.Add("_pragma", name+"="+value)
		}
	}
	db, err := files.Open(dir.TemporalDB(), 1, attributes.Encode())
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2"} {
		var is string
		require.NoError(t, db.QueryRowContext(t.Context(), `PRAGMA `+pragma).Scan(&is))
		require.Equal(t, want, is, pragma)
	}
}
