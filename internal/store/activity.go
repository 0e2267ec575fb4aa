package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

// Activity is something that happened in a project: an event of one of its resources, or, of what leaves no event or takes
// its own along, a request of the audit log.
type Activity struct {
	// ID names it within the project, for good.
	ID string
	At time.Time
	// ActorID is a user, a key, or what somebody without an account has signed in with; empty for VibeFlow itself.
	ActorID, Actor string
	// Action is an event's type, or an operationId.
	Action string
	// Kind and Resource say what it was about, Name what that is (or was) called.
	Kind     contract.Kind
	Resource string
	Name     string
	// Detail is the reason of a failure.
	Detail string
}

// KindProject, KindKey and KindMember are what activity is about besides resources.
const (
	KindProject contract.Kind = "project"
	KindKey     contract.Kind = "key"
	KindMember  contract.Kind = "member"
)

// told are the ends of events' types that belong to a project's activity, whoever caused them; of a command its actor is
// told. Who is to read of it has to be told what came of it, not every step on the way.
var told = map[string]bool{contract.EventCreated: true, contract.EventPaused: true, contract.EventCancelled: true, contract.EventFailed: true,
	contract.EventCompleted: true, contract.EventStopped: true, contract.EventServing: true}

// noteActivity marks events as their project's activity.
func (t *txn) noteActivity(ctx context.Context, stream string, evs []contract.Event) error {
	kind, id, ok := contract.SplitStream(stream)
	table, projected := projectionTables[kind]
	if !ok || !projected {
		return nil
	}
	access, _ := AccessOf(ctx)
	for _, e := range evs {
		what := suffix(kind, e)
		if what == "" || (access.Actor == "" && !told[what]) {
			continue
		}
		_, err := t.ExecContext(ctx, `UPDATE events SET actor = ?, project_id = COALESCE((SELECT project_id FROM ? WHERE id = ?), '') WHERE stream = ? AND seq = ?`,
			access.Actor, bun.Ident(table), id, stream, e.Seq)
		if err != nil {
			return err
		}
	}
	return nil
}

// auditActivity are the operations that leave no event, and what they are about.
var auditActivity = map[string]contract.Kind{
	"createProject": KindProject, "updateProject": KindProject, "archiveProject": KindProject, "unarchiveProject": KindProject,
	"deleteProject": KindProject, "restoreProject": KindProject,
	"generateKey": KindKey, "revokeKey": KindKey,
	"deleteDataset": contract.KindDataset, "deleteModel": KindModel, "deleteJob": contract.KindJob,
	"deleteEvaluation": contract.KindEvaluation, "deletePipeline": contract.KindPipeline,
	"addMember": KindMember, "updateMember": KindMember, "removeMember": KindMember,
}

// activityCursor is how far a reader has come in both logs.
type activityCursor struct {
	Project string    `json:"p"`
	Audit   int64     `json:"a,omitempty"`
	At      time.Time `json:"t,omitzero"`
	Stream  string    `json:"s,omitempty"`
	Seq     int64     `json:"n,omitempty"`
}

// ListActivity lists what happened in a project, newest first; limit ≤ 0 means 50. not_found if ctx does not reach it.
func (s *Store) ListActivity(ctx context.Context, projectID, cursor string, limit int) (Page[Activity], error) {
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	if _, err := s.GetProject(ctx, projectID); err != nil {
		return Page[Activity]{}, err
	}
	from := activityCursor{Project: projectID}
	if cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		if err != nil || json.Unmarshal(raw, &from) != nil || from.Project != projectID {
			return Page[Activity]{}, badCursor()
		}
	}
	events, err := s.eventsOfProject(ctx, from, limit+1)
	if err != nil {
		return Page[Activity]{}, err
	}
	requests, err := s.requestsOfProject(ctx, from, limit+1)
	if err != nil {
		return Page[Activity]{}, err
	}
	var page Page[Activity]
	more := len(events)+len(requests) > limit
	for len(page.Items) < limit && len(events)+len(requests) > 0 {
		if len(requests) == 0 || (len(events) > 0 && events[0].At.After(requests[0].At)) {
			e := events[0]
			from.At, from.Stream, from.Seq, events = e.At, e.Stream, e.Seq, events[1:]
			item, err := s.activityOf(e)
			if err != nil {
				return page, err
			}
			page.Items = append(page.Items, item)
			continue
		}
		r := requests[0]
		from.Audit, requests = r.ID, requests[1:]
		page.Items = append(page.Items, Activity{ID: "request-" + r.RequestID, At: r.At.UTC(), ActorID: r.ActorID, Actor: r.Actor,
			Action: r.Action, Kind: auditActivity[r.Action], Resource: r.Resource, Name: r.Subject})
	}
	if more {
		text, _ := json.Marshal(from) // strings and numbers: cannot fail
		page.Next = base64.RawURLEncoding.EncodeToString(text)
	}
	return page, s.nameActivity(ctx, page.Items)
}

func (s *Store) eventsOfProject(ctx context.Context, from activityCursor, limit int) (rows []eventRow, err error) {
	q := s.reader.NewSelect().Model(&rows).Where("project_id = ?", from.Project).Where("project_id <> ''").
		OrderExpr("at DESC, stream DESC, seq DESC").Limit(int64(limit))
	if from.Seq > 0 {
		q = q.Where("(at, stream, seq) < (?, ?, ?)", stamp(from.At), from.Stream, from.Seq)
	}
	return rows, q.Scan(ctx)
}

func (s *Store) requestsOfProject(ctx context.Context, from activityCursor, limit int) (rows []AuditEvent, err error) {
	q := s.reader.NewSelect().Model(&rows).Where("project_id = ?", from.Project).Where("status < 400").
		Where("action IN (?)", bun.List(slices.Sorted(maps.Keys(auditActivity)))).Order("id DESC").Limit(int64(limit))
	if from.Audit > 0 {
		q = q.Where("id < ?", from.Audit)
	}
	return rows, q.Scan(ctx)
}

// activityOf is an event as activity; only that of a failure is opened, for its reason.
func (s *Store) activityOf(r eventRow) (Activity, error) {
	kind, id, _ := contract.SplitStream(r.Stream)
	a := Activity{ID: "event-" + r.Stream + "-" + strconv.FormatInt(r.Seq, 10), At: r.At.UTC(), ActorID: r.Actor, Action: r.Type, Kind: kind, Resource: id}
	if r.Type != contract.EventType(kind, contract.EventFailed) {
		return a, nil
	}
	e, err := s.reader.openEvent(r)
	if err != nil {
		return a, err
	}
	var reason contract.Error
	if json.Unmarshal(e.Payload, &reason) == nil {
		a.Detail = reason.Message
	}
	return a, nil
}

// names selects id and name of things of a kind.
var names = map[contract.Kind]string{
	contract.KindDataset:    `SELECT id, name FROM datasets WHERE id IN (?)`,
	contract.KindJob:        `SELECT id, name FROM training_jobs WHERE id IN (?)`,
	contract.KindPipeline:   `SELECT id, name FROM pipelines WHERE id IN (?)`,
	contract.KindEvaluation: `SELECT r.id, COALESCE(m.name, r.model_id) FROM evaluations AS r LEFT JOIN models AS m ON m.id = r.model_id WHERE r.id IN (?)`,
	contract.KindDeployment: `SELECT r.id, COALESCE(m.name, r.model_id) FROM deployments AS r LEFT JOIN models AS m ON m.id = r.model_id WHERE r.id IN (?)`,
	contract.KindExport:     `SELECT r.id, COALESCE(m.name, r.model_id) FROM exports AS r LEFT JOIN models AS m ON m.id = r.model_id WHERE r.id IN (?)`,
	KindModel:               `SELECT id, name FROM models WHERE id IN (?)`,
	actors: `SELECT id, CASE WHEN name <> '' THEN name ELSE email END FROM users WHERE id IN (?0)
  UNION ALL SELECT id, name FROM api_keys WHERE id IN (?0)`,
}

// actors stands among the kinds for those who act.
const actors contract.Kind = "actor"

// nameActivity fills in what things and actors are called now. What is gone keeps the name that the audit log has.
func (s *Store) nameActivity(ctx context.Context, items []Activity) error {
	ids := map[contract.Kind][]string{}
	for _, a := range items {
		ids[a.Kind] = append(ids[a.Kind], a.Resource)
		ids[actors] = append(ids[actors], a.ActorID)
	}
	known := map[contract.Kind]map[string]string{}
	for kind, of := range ids {
		var err error
		if known[kind], err = s.namesBy(ctx, kind, of); err != nil {
			return err
		}
	}
	for i := range items {
		a := &items[i]
		setDefault(&a.Name, known[a.Kind][a.Resource])
		if name := known[actors][a.ActorID]; name != "" {
			a.Actor = name
		}
	}
	return nil
}

// namesBy returns names of a kind by id; none of a kind whose things have none.
func (s *Store) namesBy(ctx context.Context, kind contract.Kind, ids []string) (map[string]string, error) {
	query, ok := names[kind]
	if !ok {
		return nil, nil
	}
	slices.Sort(ids)
	rows, err := s.reader.QueryContext(ctx, query, bun.List(slices.Compact(ids)))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	found := map[string]string{}
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, err
		}
		found[id] = name
	}
	return found, rows.Err()
}

// Describe returns the project and the name of a resource or model within the reach of ctx, or not_found.
func (s *Store) Describe(ctx context.Context, kind contract.Kind, id string) (projectID, name string, err error) {
	if kind == KindModel {
		m, err := s.GetModel(ctx, id)
		if err != nil {
			return "", "", err
		}
		return m.ProjectID, m.Name, nil
	}
	if err := s.Reaches(ctx, kind, id); err != nil {
		return "", "", err
	}
	if err := s.reader.NewSelect().Table(projectionTables[kind]).Column("project_id").Where("id = ?", id).Scan(ctx, &projectID); err != nil {
		return "", "", err
	}
	known, err := s.namesBy(ctx, kind, []string{id})
	return projectID, known[id], err
}
