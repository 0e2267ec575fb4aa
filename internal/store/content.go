package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/seal"
)

// database is a connection or a transaction, and opens what rows have sealed.
type database interface {
	bun.IDB
	openEvent(eventRow) (contract.Event, error)
	openRow(row any) error
}

// contentKey seals what users uploaded and wrote before it reaches the file, and opens what was read from it. Everything
// that an event says is sealed, bound to stream, number and type; of a row, the fields that its content method lists. What
// SQL asks for stays in columns (docs/adr/0014-sealed-content.md).
type contentKey struct{ key *seal.Key }

// plainEvents are the types whose payloads are not sealed: an index looks into a checkpoint's, which has a name, a step and
// sizes.
var plainEvents = map[string]bool{contract.RunnerCheckpoint: true}

func eventPlace(stream string, seq int64, kind string) []string {
	return []string{"events", stream, strconv.FormatInt(seq, 10), kind}
}

// sealEvent returns a payload as the database keeps it: text, or bytes if it is sealed.
func (k contentKey) sealEvent(e contract.Event) any {
	if plainEvents[e.Type] {
		return string(e.Payload)
	}
	return k.key.Seal(e.Payload, eventPlace(e.Stream, e.Seq, e.Type)...)
}

func (k contentKey) openEvent(r eventRow) (contract.Event, error) {
	e := contract.Event{Stream: r.Stream, Seq: r.Seq, Type: r.Type, Payload: r.Payload, Source: r.Source, SourceSeq: r.SourceSeq, At: r.At.UTC()}
	if plainEvents[e.Type] {
		return e, nil
	}
	payload, err := k.key.Open(r.Payload, eventPlace(r.Stream, r.Seq, r.Type)...)
	if err != nil {
		return contract.Event{}, changed(fmt.Sprintf("event %d of %s", r.Seq, r.Stream), err)
	}
	e.Payload = payload
	return e, nil
}

func openEvents(db database, rows []eventRow) (_ []contract.Event, err error) {
	evs := make([]contract.Event, len(rows))
	for i, r := range rows {
		if evs[i], err = db.openEvent(r); err != nil {
			return nil, err
		}
	}
	return evs, nil
}

func changed(what string, err error) error {
	return contract.Errorf(contract.CodePrerequisite, "%s cannot be read from the database: %w", what, err).
		Mend("restore app.db from a backup")
}

// content is what a row keeps sealed: pointers to the fields, by name, and to the bytes that stand for them in the table.
type content struct {
	place  []string
	fields map[string]any
	sealed *[]byte
}

// sealedRow is a row with content.
type sealedRow interface{ content() content }

// sealRow seals a row's fields before it is written; a row without content is left.
func (k contentKey) sealRow(row any) error {
	r, ok := row.(sealedRow)
	if !ok {
		return nil
	}
	c, told := r.content(), map[string]any{}
	for name, field := range c.fields {
		if !reflect.ValueOf(field).Elem().IsZero() {
			told[name] = field
		}
	}
	if *c.sealed = nil; len(told) == 0 {
		return nil
	}
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	*c.sealed = k.key.Seal(body, c.place...)
	return nil
}

// openRow fills a row's fields from what was sealed, and forgets the sealed form.
func (k contentKey) openRow(row any) error {
	r, ok := row.(sealedRow)
	if !ok {
		return nil
	}
	c := r.content()
	if len(*c.sealed) == 0 {
		return nil
	}
	body, err := k.key.Open(*c.sealed, c.place...)
	if err != nil {
		return changed(fmt.Sprintf("%s %s", c.place[0], c.place[1]), err)
	}
	*c.sealed = nil
	var told map[string]json.RawMessage
	if err := json.Unmarshal(body, &told); err != nil {
		return err
	}
	for name, field := range c.fields {
		if raw, ok := told[name]; ok {
			if err := json.Unmarshal(raw, field); err != nil {
				return fmt.Errorf("read %s of %s: %w", name, c.place[1], err)
			}
		}
	}
	return nil
}

// keep is the content that every projection has, bound to the table, the row and the event that it was folded up to.
func (l *Lifecycle) keep(table, id string, fields map[string]any) content {
	fields["error"], fields["progress"] = &l.Error, &l.Progress
	return content{place: []string{table, id, strconv.FormatInt(l.Seq, 10)}, fields: fields, sealed: &l.Sealed}
}

func (d *Dataset) content() content {
	return d.keep("datasets", d.ID, map[string]any{"columns": &d.Columns, "profile": &d.Profile, "options": &d.Options, "notes": &d.Notes})
}

func (j *Job) content() content {
	return j.keep("training_jobs", j.ID, map[string]any{"model": &j.Model, "metrics": &j.Metrics, "notes": &j.Notes})
}

func (v *Evaluation) content() content {
	return v.keep("evaluations", v.ID, map[string]any{"metrics": &v.Metrics})
}

func (d *Deployment) content() content {
	return d.keep("deployments", d.ID, map[string]any{"serving": &d.Serving})
}

func (x *Export) content() content { return x.keep("exports", x.ID, map[string]any{}) }

func (p *Pipeline) content() content {
	return p.keep("pipelines", p.ID, map[string]any{"request": &p.Request, "stages": &p.Stages,
		"recommendation": &p.Recommendation, "confirmed": &p.Confirmed})
}

func (m *Model) content() content {
	return content{place: []string{"models", m.ID, strconv.FormatInt(m.Version, 10)}, fields: map[string]any{"notes": &m.Notes}, sealed: &m.Sealed}
}

func (r *Run) content() content {
	return content{place: []string{"runs", r.RunID, strconv.FormatInt(r.Epoch, 10)},
		fields: map[string]any{"result": &r.Result}, sealed: &r.Sealed}
}
