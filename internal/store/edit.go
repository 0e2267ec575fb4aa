package store

import (
	"context"
	"encoding/json"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Labels are what people say of a dataset, a job or a model, beside its name. Version counts the changes of both, from 1:
// what a resource does by itself makes no new version, so that a note can be written while its job trains.
type Labels struct {
	Notes   string   `bun:"-" json:"notes,omitempty"`
	Tags    []string `bun:"tags,type:json" json:"tags"`
	Version int64    `bun:"version" json:"version"`
}

func newLabels() Labels { return Labels{Tags: []string{}, Version: 1} }

// edit takes what an edit names; the rest stays.
func (l *Labels) edit(name *string, e contract.Edited) {
	l.Version++
	if e.Name != nil {
		*name = *e.Name
	}
	if e.Notes != nil {
		l.Notes = *e.Notes
	}
	if e.Tags != nil {
		l.Tags = *e.Tags
	}
}

// Edit changes what is said of a dataset, a job or a model. With ifVersion other than 0 it fails with precondition if there
// is another version by now; an edit that says nothing changes nothing.
func (s *Store) Edit(ctx context.Context, kind contract.Kind, id string, ifVersion int64, e contract.Edited) error {
	return s.write(ctx, func(ctx context.Context, tx *txn) error {
		if err := tx.unchanged(ctx, kind, id, ifVersion); err != nil || e == (contract.Edited{}) {
			return err
		}
		if kind == KindModel {
			return tx.editModel(ctx, id, e)
		}
		if e.Priority != nil {
			if err := tx.stillQueues(ctx, kind, id); err != nil {
				return err
			}
		}
		payload, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = tx.append(ctx, contract.Stream(kind, id), []contract.NewEvent{{
			Type: contract.EventType(kind, contract.EventEdited), Payload: payload, Source: "cmd/" + contract.NewID(""), SourceSeq: 1}})
		return err
	})
}

// stillQueues refuses a priority for what has ended: it will not wait again.
func (t *txn) stillQueues(ctx context.Context, kind contract.Kind, id string) error {
	status, err := t.statusOf(ctx, kind, id)
	if err != nil || !status.Final() {
		return err
	}
	return contract.Errorf(contract.CodeConflict, "the %s is %s: it will not wait in line again", kind, status).On("priority").
		Mend("give a priority to one that waits, runs or is paused")
}

func (t *txn) editModel(ctx context.Context, id string, e contract.Edited) error {
	m, err := findByID[Model](ctx, t, KindModel, id)
	if err != nil {
		return err
	}
	m.edit(&m.Name, e)
	m.UpdatedAt = t.now
	if err := t.sealRow(m); err != nil {
		return err
	}
	_, err = t.NewUpdate().Model(m).Column("name", "tags", "version", "sealed", "updated_at").WherePK().Exec(ctx)
	return err
}

// unchanged refuses what ctx does not reach, and what has another version than the one that a change is meant for; 0 is any.
func (t *txn) unchanged(ctx context.Context, kind contract.Kind, id string, version int64) error {
	table := projectionTables[kind]
	if kind == KindModel {
		if _, err := findByID[Model](ctx, t, kind, id); err != nil {
			return err
		}
		table = "models"
	} else if err := reaches(ctx, t, kind, id); err != nil {
		return err
	}
	if version == 0 {
		return nil
	}
	var have int64
	if err := t.NewSelect().Table(table).Column("version").Where("id = ?", id).Scan(ctx, &have); err != nil {
		return err
	}
	return sameVersion(string(kind), have, version)
}

// sameVersion refuses a change that was meant for another version; 0 is any.
func sameVersion(what string, have, meant int64) error {
	if meant == 0 || meant == have {
		return nil
	}
	return contract.Errorf(contract.CodePrecondition, "the %s was changed in the meantime", what).On("If-Match").
		Mend("read it again, and repeat the change")
}

// tagged narrows a query to rows that have all of the tags. The first condition lets SQLite walk the index of rows with any.
func tagged(q *bun.SelectQuery, tags []string) *bun.SelectQuery {
	if len(tags) == 0 {
		return q
	}
	q = q.Where("tags <> '[]'")
	for _, tag := range tags {
		q = q.Where("EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)", tag)
	}
	return q
}
