package store

import (
	"context"

	"github.com/vibeflow/vibeflow/contract"
)

// Rebuild makes all projections anew from the log, in one transaction: readers see the old rows until it has ended.
func (s *Store) Rebuild(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error { return tx.rebuild(ctx) })
}

func (t *txn) rebuild(ctx context.Context) error {
	tables := []string{"metric_points"}
	for _, table := range projectionTables {
		tables = append(tables, table)
	}
	for _, table := range tables {
		if _, err := t.NewDelete().Table(table).Where("TRUE").Exec(ctx); err != nil {
			return err
		}
	}
	var streams []string
	if err := t.NewSelect().Table("events").Distinct().Column("stream").Scan(ctx, &streams); err != nil {
		return err
	}
	for _, stream := range streams {
		if err := t.replay(ctx, stream); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) replay(ctx context.Context, stream string) error {
	var page []contract.Event
	var err error
	for after := int64(0); ; after = page[len(page)-1].Seq {
		if page, err = eventsAfter(ctx, t, stream, after, MaxEventsPage); err != nil || len(page) == 0 {
			return err
		}
		if err := t.project(ctx, stream, page); err != nil {
			return err
		}
	}
}
