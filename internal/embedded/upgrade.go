package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"go.temporal.io/server/common/headers"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/schema/sqlite"

	"github.com/vibeflow/vibeflow/contract"
	files "github.com/vibeflow/vibeflow/internal/sqlite" // Temporal's plugin and schema have the name
)

// beforeInfix is in the name of the copy that an upgrade keeps: temporal.db.before-1.33.0.
const beforeInfix = ".before-"

// upgrade makes the database of an older release one of this: Temporal has no migrations for SQLite, so a new file gets this
// release's schema and every row of the old one. What is generated from rows, and indexes, follow. The old file is kept as it
// was. A kill at any moment leaves the old database or the new one under the name, and the next start finishes.
func upgrade(dir, database, from string) error {
	if err := refuseRelease(database, from); err != nil {
		return err
	}
	aside := database + ".new"
	if err := buildSchema(aside); err != nil {
		return fmt.Errorf("make a database of this release: %w", err)
	}
	if err := errors.Join(intoOneFile(database), copyRows(context.Background(), database, aside)); err != nil {
		return errors.Join(upgradeError(database, from, err), removeDatabase(aside))
	}
	if err := errors.Join(syncFile(aside), os.Chmod(aside, 0o600)); err != nil {
		return err
	}
	if err := keepBefore(database); err != nil {
		return err
	}
	if err := os.Rename(aside, database); err != nil {
		return err
	}
	return writeStamp(dir)
}

// keepBefore gives the old file a second name, which stays; a copy of an upgrade that was cut off is as old, and stays
// instead. Those of earlier upgrades go.
func keepBefore(database string) error {
	before := database + beforeInfix + headers.ServerVersion
	if err := os.Link(database, before); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	earlier, err := filepath.Glob(database + beforeInfix + "*")
	if err != nil {
		return err
	}
	for _, path := range earlier {
		if path != before {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func upgradeError(database, from string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "disk is full") {
		return contract.Errorf(contract.CodeDiskFull, "there is no room to upgrade %s: %w", database, err).
			Mend("free as much space as the file takes, and start again; nothing was changed")
	}
	return contract.Errorf(contract.CodePrerequisite, "%s was written by Temporal %s and cannot be upgraded to %s: %w", database, from, headers.ServerVersion, err).
		Mend("%s; nothing was changed", orBeginAnew(from, filepath.Dir(database)))
}

// orBeginAnew is what remains where a database cannot be gone on with.
func orBeginAnew(release, dir string) string {
	return fmt.Sprintf("start the VibeFlow that carries Temporal %s, or restore a backup; or move the folder %s away and start: "+
		"jobs go on from their last checkpoint, pipelines under way fail and say so", release, dir)
}

// refuseRelease says no to a database of a newer release, and to one that is more than one minor release older: Temporal is
// upgraded one minor release at a time.
func refuseRelease(database, from string) error {
	was, ok := parseRelease(from)
	is, _ := parseRelease(headers.ServerVersion)
	switch {
	case !ok:
		return contract.Errorf(contract.CodePrerequisite, "%s was written by Temporal %q, which is no release", database, from).
			Mend("restore %s from a backup", filepath.Join(filepath.Dir(database), stampFile))
	case slices.Compare(was[:], is[:]) > 0:
		return contract.Errorf(contract.CodePrerequisite, "%s was written by a newer Temporal (%s; this VibeFlow carries %s)", database, from, headers.ServerVersion).
			Mend("%s", orBeginAnew(from, filepath.Dir(database)))
	case was[0] != is[0] || is[1]-was[1] > 1:
		return contract.Errorf(contract.CodePrerequisite, "%s was written by Temporal %s, which is too old for %s", database, from, headers.ServerVersion).
			Mend("start a VibeFlow in between first, one that carries Temporal %d.%d; or %s", was[0], was[1]+1, orBeginAnew(from, filepath.Dir(database)))
	}
	return nil
}

func parseRelease(version string) (release [3]int, ok bool) {
	parts := strings.Split(version, ".")
	if len(parts) != len(release) {
		return release, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return release, false
		}
		release[i] = n
	}
	return release, true
}

// buildSchema makes a complete, empty database in one file.
func buildSchema(path string) (err error) {
	if err := removeDatabase(path); err != nil {
		return err
	}
	db, err := files.Open(path, 1, "mode=rwc", "_pragma=journal_mode(DELETE)", "_pragma=synchronous(OFF)") // worth nothing until it has its name
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return sqlite.SetupSchemaOnDB(schemaDB{db: db})
}

// schemaDB takes the statements of a schema. Temporal's own connections are never closed, and would go on to another file
// that gets the name.
type schemaDB struct {
	sqlplugin.AdminDB
	db *sql.DB
}

// Exec implements the one method of sqlplugin.AdminDB that SetupSchemaOnDB calls.
func (s schemaDB) Exec(statement string, args ...any) error {
	_, err := s.db.Exec(statement, args...)
	return err
}

func removeDatabase(path string) error {
	for _, leftover := range []string{path, path + "-wal", path + "-shm", path + "-journal"} {
		if err := os.Remove(leftover); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func openFile(path string, settings ...string) (*sql.DB, error) {
	return files.Open(path, 1, append(settings, "mode=rw", "_pragma=busy_timeout(10000)")...)
}

// intoOneFile writes the write-ahead log into the database and does away with it: it must not be found beside another file of
// the name.
func intoOneFile(path string) error {
	db, err := openFile(path, "_pragma=journal_mode(DELETE)")
	if err != nil {
		return err
	}
	var mode string
	err = db.QueryRow(`PRAGMA journal_mode`).Scan(&mode)
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if mode != "delete" {
		return fmt.Errorf("%s is in use", path)
	}
	return nil
}

// copyRows fills the tables of a new database with the rows of an old one. It refuses an old one that has more to tell than
// the new one can hold.
func copyRows(ctx context.Context, from, to string) (err error) {
	db, err := openFile(to, "_pragma=journal_mode(OFF)", "_pragma=synchronous(OFF)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `ATTACH ? AS old`, from); err != nil {
		return err
	}
	had, err := columns(ctx, db, "old")
	if err != nil {
		return err
	}
	has, err := columns(ctx, db, "main")
	if err != nil {
		return err
	}
	for table, names := range had {
		for _, name := range names {
			if !slices.Contains(has[table], name) {
				return fmt.Errorf("this release has no %s.%s", table, name)
			}
		}
		if err := copyTable(ctx, db, table, names); err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
	}
	return nil
}

func copyTable(ctx context.Context, db *sql.DB, table string, columns []string) error {
	list := `"` + strings.Join(columns, `", "`) + `"`
	if _, err := db.ExecContext(ctx, `DELETE FROM main."`+table+`"`); err != nil { // the schema comes with a few rows
		return err
	}
	if _, err := db.ExecContext(ctx, `INSERT INTO main."`+table+`" (`+list+`) SELECT `+list+` FROM old."`+table+`"`); err != nil {
		return err
	}
	var missing int64
	err := db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM old."`+table+`") - (SELECT COUNT(*) FROM main."`+table+`")`).Scan(&missing)
	if err == nil && missing != 0 {
		err = fmt.Errorf("%d rows were not copied", missing)
	}
	return err
}

// columns lists the columns of each table that hold something: generated ones follow from them, and so do tables that index.
func columns(ctx context.Context, db *sql.DB, schema string) (map[string][]string, error) {
	rows, err := db.QueryContext(ctx, `SELECT l.name, c.name FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name, l.schema) AS c
WHERE l.schema = ? AND l.type = 'table' AND l.name NOT LIKE 'sqlite_%' AND c.hidden = 0 ORDER BY l.name, c.cid`, schema)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return nil, err
		}
		found[table] = append(found[table], column)
	}
	return found, rows.Err()
}
