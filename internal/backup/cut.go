package backup

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/sqlite"
)

// cutPatience bounds how long a cut waits for a transaction of the application's that is under way.
const cutPatience = 10 * time.Second

// database is a SQLite file as it was at one moment: a read transaction of its write-ahead log. Writers go on meanwhile.
type database struct {
	name            string // in the archive
	db              *sql.DB
	conn            *sql.Conn
	pages, pageSize int64
}

// moment is both databases at one time. Temporal is nil where the data folder has none. held is how long the application's
// writes waited.
type moment struct {
	temporal, app *database
	held          time.Duration
}

func (m moment) all() []*database {
	if m.temporal == nil {
		return []*database{m.app}
	}
	return []*database{m.temporal, m.app}
}

func (m moment) close() {
	for _, d := range m.all() {
		if d != nil {
			d.close()
		}
	}
}

// cut holds the application's writes, and opens Temporal's database and then the application's as they are now.
func cut(ctx context.Context, dir *datadir.Dir) (m moment, err error) {
	ctx, cancel := context.WithTimeout(ctx, cutPatience)
	defer cancel()
	if _, err := os.Stat(dir.AppDB()); errors.Is(err, fs.ErrNotExist) {
		return m, contract.Errorf(contract.CodePrerequisite, "there is nothing to back up in %s yet", dir.Root()).
			Mend("start VibeFlow first: `vibeflow up`")
	}
	release, err := holdWrites(ctx, dir.AppDB())
	if err != nil {
		return m, fmt.Errorf("hold the database's writes: %w", err)
	}
	began := time.Now()
	defer func() {
		release()
		m.held = time.Since(began)
		if err != nil {
			m.close()
		}
	}()
	if _, err := os.Stat(dir.TemporalDB()); err == nil {
		if m.temporal, err = pin(ctx, dir.TemporalDB(), temporalEntry); err != nil {
			return m, err
		}
	}
	m.app, err = pin(ctx, dir.AppDB(), appEntry)
	return m, err
}

func open(path string, settings ...string) (*sql.DB, error) {
	return sqlite.Open(path, 1, append(settings, "mode=rw", "_pragma=busy_timeout(10000)")...)
}

// holdWrites takes the place of the only writer, and writes nothing.
func holdWrites(ctx context.Context, path string) (release func(), err error) {
	db, err := open(path)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err == nil {
		_, err = conn.ExecContext(ctx, `BEGIN IMMEDIATE`)
	}
	release = func() {
		if conn != nil {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), `ROLLBACK`)
			_ = conn.Close()
		}
		_ = db.Close()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func pin(ctx context.Context, path, name string) (*database, error) {
	d := &database{name: name}
	err := d.pin(ctx, path)
	if err != nil {
		d.close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return d, nil
}

func (d *database) pin(ctx context.Context, path string) (err error) {
	if d.db, err = open(path, "_pragma=query_only(1)"); err != nil {
		return err
	}
	// The connection outlives the cut's patience.
	if d.conn, err = d.db.Conn(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	if _, err = d.conn.ExecContext(ctx, `BEGIN`); err != nil {
		return err
	}
	var tables int // the first read of a table is what fixes the moment
	if err := d.conn.QueryRowContext(ctx, `SELECT COUNT(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	if err := d.conn.QueryRowContext(ctx, `PRAGMA page_size`).Scan(&d.pageSize); err != nil {
		return err
	}
	return d.conn.QueryRowContext(ctx, `PRAGMA page_count`).Scan(&d.pages)
}

func (d *database) size() int64 { return d.pages * d.pageSize }

// copyTo writes the file's pages, as the transaction sees them: what is only in the write-ahead log is among them. Memory
// does not grow with the file.
func (d *database) copyTo(ctx context.Context, w io.Writer) error {
	rows, err := d.conn.QueryContext(ctx, `SELECT data FROM sqlite_dbpage ORDER BY pgno`)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	copied := int64(0)
	for rows.Next() {
		var page sql.RawBytes
		if err := rows.Scan(&page); err != nil {
			return err
		}
		if _, err := w.Write(page); err != nil {
			return err
		}
		copied++
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if copied != d.pages {
		return fmt.Errorf("%s has %d pages, and %d were read", d.name, d.pages, copied)
	}
	return nil
}

func (d *database) close() {
	if d.conn != nil {
		_, _ = d.conn.ExecContext(context.Background(), `ROLLBACK`)
		_ = d.conn.Close()
	}
	if d.db != nil {
		_ = d.db.Close()
	}
}

// objects lists what the application's copy names, in the order of ids.
func (d *database) objects(ctx context.Context) (ids []string, err error) {
	rows, err := d.conn.QueryContext(ctx, `SELECT id FROM objects ORDER BY id`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// identity tells an installation from every other.
func (d *database) identity(ctx context.Context) (id string, err error) {
	err = d.conn.QueryRowContext(ctx, `SELECT id FROM identity`).Scan(&id)
	return id, err
}
