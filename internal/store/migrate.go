package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/vibeflow/vibeflow/contract"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrateUp applies the migrations that the file lacks, each in its own transaction.
//
// bun marks a migration as applied outside of its transaction, and its lock is a row that a crash leaves behind. So each
// migration also writes a row of schema_steps inside its own transaction, from which the marks are mended at the next
// start; and the row lock is not used: the data folder has one owner (internal/datadir).
func migrateUp(ctx context.Context, db *bun.DB) error {
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	return migrateFrom(ctx, db, files)
}

func migrateFrom(ctx context.Context, db *bun.DB, files fs.FS) error {
	migrations := migrate.NewMigrations()
	if err := migrations.Discover(files); err != nil {
		return err
	}
	migrator := migrate.NewMigrator(db, migrations,
		migrate.WithMarkAppliedOnSuccess(true), migrate.AfterMigration(recordStep))
	if err := migrator.Init(ctx); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_steps (name TEXT PRIMARY KEY)`); err != nil {
		return err
	}
	if err := mendMarks(ctx, db, migrator); err != nil {
		return err
	}
	if err := refuseNewer(ctx, migrator); err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate the database: %w", err)
	}
	return nil
}

// Examine refuses a database of a newer VibeFlow (prerequisite). It changes nothing.
func Examine(ctx context.Context, path string) error {
	db, err := connect(path, 1, "_pragma=query_only(1)")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	migrations := migrate.NewMigrations()
	if err := migrations.Discover(files); err != nil {
		return err
	}
	return refuseNewer(ctx, migrate.NewMigrator(db, migrations))
}

func recordStep(ctx context.Context, tx bun.IConn, m *migrate.Migration) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO schema_steps (name) VALUES (?)`, m.Name)
	return err
}

// mendMarks marks migrations that had committed when the process died before bun could say so.
func mendMarks(ctx context.Context, db *bun.DB, migrator *migrate.Migrator) error {
	var done []string
	if err := db.NewSelect().Table("schema_steps").Column("name").Scan(ctx, &done); err != nil {
		return err
	}
	all, err := migrator.MigrationsWithStatus(ctx)
	if err != nil {
		return err
	}
	committed := map[string]bool{}
	for _, name := range done {
		committed[name] = true
	}
	group := all.LastGroupID() + 1
	for _, m := range all.Unapplied() {
		if !committed[m.Name] {
			continue
		}
		m.GroupID = group
		if err := migrator.MarkApplied(ctx, &m); err != nil {
			return err
		}
	}
	return nil
}

// refuseNewer stops an older binary from writing to a newer file.
func refuseNewer(ctx context.Context, migrator *migrate.Migrator) error {
	unknown, err := migrator.MissingMigrations(ctx)
	if err != nil {
		return err
	}
	if len(unknown) > 0 {
		return contract.Errorf(contract.CodePrerequisite, "the database was written by a newer VibeFlow (migration %s)", unknown[0].Name).
			Mend("start the newer version, or restore a backup made before the upgrade")
	}
	return nil
}
