package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
	"github.com/vibeflow/vibeflow/internal/sqlite"
)

// Options configures Open. Path is the database file; its folder must exist. MasterKey is 32 bytes; the database's content
// key is wrapped under it. Logger defaults to slog.Default, Now to time.Now.
type Options struct {
	Path      string
	MasterKey []byte
	Logger    *slog.Logger
	Now       func() time.Time
}

// Store is the application's database. It is safe for concurrent use.
type Store struct {
	path   string
	writer *bun.DB
	reader reader
	log    *slog.Logger
	now    func() time.Time
	wakes  *wakeHub
	outbox chan struct{}
	line   chan struct{}

	identities atomic.Int64
	versions   atomic.Int64
}

// reader is the connections that only read.
type reader struct {
	*bun.DB
	contentKey
}

const readConnections = 4

// Open opens or creates the database (mode 0600), migrates it and makes sure that the default project exists. A database
// that belongs to another master key is refused with prerequisite.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{log: opts.Logger, now: opts.Now, wakes: newWakeHub(), outbox: make(chan struct{}, 1), line: make(chan struct{}, 1)}
	if err := s.open(ctx, opts); err != nil {
		return nil, errors.Join(openError(opts.Path, err), s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, opts Options) error {
	master, err := seal.NewMaster(opts.MasterKey)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(opts.Path)
	if err != nil {
		return err
	}
	s.path = path
	if err := createPrivate(path); err != nil {
		return err
	}
	if s.writer, err = connect(path, 1, "_txlock=immediate"); err != nil {
		return err
	}
	if err := migrateUp(ctx, s.writer); err != nil {
		return err
	}
	if s.reader.contentKey, err = s.openContent(ctx, master); err != nil {
		return err
	}
	if err := s.sealEarlier(ctx); err != nil {
		return err
	}
	if s.reader.DB, err = connect(path, readConnections, "_pragma=query_only(1)"); err != nil {
		return err
	}
	return s.createDefaultProject(ctx)
}

// createPrivate makes the file before SQLite would, which would give it the umask's mode; WAL and shared memory files
// copy the database's mode.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

func connect(path string, conns int, extra string) (*bun.DB, error) {
	db, err := sqlite.Open(path, conns, "_pragma=busy_timeout(10000)", "_pragma=journal_mode(WAL)", "_pragma=synchronous(FULL)", "_pragma=foreign_keys(1)", extra)
	if err != nil {
		return nil, err
	}
	return bun.NewDB(db, sqlitedialect.New()), nil
}

func openError(path string, err error) error {
	err = storageError(err)
	if contract.CodeOf(err) != contract.CodeInternal {
		return err
	}
	return contract.Errorf(contract.CodePrerequisite, "cannot open the database %s: %w", path, err).
		Mend("check that the folder exists, belongs to you and has free space; a damaged file is restored from a backup")
}

// Close closes all connections; calls under way end with an error.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*bun.DB{s.reader.DB, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// ID tells this database from every other.
func (s *Store) ID(ctx context.Context) (id string, err error) {
	err = s.reader.QueryRowContext(ctx, `SELECT id FROM identity`).Scan(&id)
	return id, err
}

// Path is the database's file.
func (s *Store) Path() string { return s.path }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.reader.PingContext(ctx) }

// txn is a write transaction, and what to tell to whom once it has committed.
type txn struct {
	bun.Tx
	contentKey
	now     time.Time
	touched map[string]bool
	outbox  bool
	line    bool
	// identity says that what a cache of callers knows may have changed: accounts, sessions, keys.
	identity bool
}

// write runs fn in a transaction on the only writing connection. Subscribers are woken after the commit, never before.
func (s *Store) write(ctx context.Context, fn func(ctx context.Context, tx *txn) error) error {
	return s.writeBy(ctx, s.versioned, fn)
}

// versioned is a transaction that makes a new version, before anybody is told of it. One that fails makes one too: whether
// it was written is not always known.
func (s *Store) versioned(ctx context.Context, opts *sql.TxOptions, fn func(context.Context, bun.Tx) error) error {
	defer s.versions.Add(1)
	return s.writer.RunInTx(ctx, opts, fn)
}

// runInTx begins and commits a transaction.
type runInTx func(context.Context, *sql.TxOptions, func(context.Context, bun.Tx) error) error

func (s *Store) writeBy(ctx context.Context, run runInTx, fn func(ctx context.Context, tx *txn) error) error {
	t := &txn{contentKey: s.reader.contentKey, now: stamp(s.now()), touched: map[string]bool{}}
	err := run(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		t.Tx = tx
		return fn(ctx, t)
	})
	if err != nil {
		return storageError(err)
	}
	if t.identity {
		s.identities.Add(1)
	}
	for stream := range t.touched {
		s.wakes.wake(stream)
	}
	if t.outbox {
		s.wakeOutbox()
	}
	if t.line {
		nudge(s.line)
	}
	return nil
}

// Version changes with each write, before the call that wrote returns; only the metering of API keys leaves it. What was read
// under one version is what would be read as long as it is the version.
func (s *Store) Version() int64 { return s.versions.Load() }

// IdentityVersion changes whenever an account, a session or a key does, before the call that changed it returns: what was
// read of them under one version holds as long as it is the version.
func (s *Store) IdentityVersion() int64 { return s.identities.Load() }

// stamp is the resolution that times keep in the database, so that a row read back equals the one written.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// Codes of SQLite that say that there is no room: for a page, or for the index of the write-ahead log; and, in their lowest
// byte, that nothing may be written.
const (
	sqliteFull     = 13
	sqliteShmSize  = 4874
	sqliteReadOnly = 8
	primaryCode    = 0xff
)

func storageError(err error) error {
	var coded interface{ Code() int }
	code := 0
	if errors.As(err, &coded) {
		code = coded.Code()
	}
	switch {
	case code == sqliteFull, code == sqliteShmSize, errors.Is(err, syscall.ENOSPC):
		return contract.Errorf(contract.CodeDiskFull, "the disk that holds the database is full: %w", err).
			Mend("free some space; nothing was changed")
	case code&primaryCode == sqliteReadOnly, errors.Is(err, syscall.EROFS):
		return contract.Errorf(contract.CodeUnavailable, "the database cannot be written: its disk or folder is read-only: %w", err).
			Mend("make it writable again; nothing was changed, and VibeFlow goes on by itself")
	}
	return err
}

func notFound(kind contract.Kind, id string) error {
	return contract.Errorf(contract.CodeNotFound, "there is no %s %q", kind, id).On("id")
}

// findByID reads one row by its primary key "id" from db, if it is within the reach of ctx.
func findByID[R any](ctx context.Context, db database, kind contract.Kind, id string) (*R, error) {
	row := new(R)
	if strings.ContainsRune(id, 0) { // which SQL cannot say, and no id has
		return nil, notFound(kind, id)
	}
	byID := func(ctx context.Context) *bun.SelectQuery {
		return within[R](ctx, db, db.NewSelect().Model(row).Where("id = ?", id))
	}
	err := byID(ctx).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, unreached(ctx, notFound(kind, id), func(ctx context.Context) (bool, error) { return byID(ctx).Exists(ctx) })
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", kind, id, err)
	}
	return row, db.openRow(row)
}
