package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"

	"github.com/vibeflow/vibeflow/contract"
)

func jobs(t *testing.T, s *Store, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("job_%03d", i)
		create(t, s, contract.KindJob, id, contract.JobCreated{ProjectID: DefaultProject, Name: []string{"Ältere", "beta", "Beta", "alpha"}[i%4],
			DatasetID: fmt.Sprintf("ds_%d", i%3), ModelID: "base"})
	}
	for i := range n / 2 { // older ones change last
		_, err := s.Append(t.Context(), contract.Stream(contract.KindJob, fmt.Sprintf("job_%03d", i)), ev("job.cancelled", struct{}{}))
		require.NoError(t, err)
	}
}

// pages reads a list page by page.
func pages(t *testing.T, s *Store, f Filter) []Job {
	t.Helper()
	var all []Job
	for {
		page, err := s.ListJobs(t.Context(), f)
		require.NoError(t, err)
		all = append(all, page.Items...)
		if f.Cursor = page.Next; f.Cursor == "" {
			return all
		}
		require.Len(t, page.Items, f.Limit)
	}
}

func TestListsInEveryOrderHaveEachRowOnce(t *testing.T) {
	s := open(t)
	jobs(t, s, 23)
	keys := map[string]func(Job) string{
		"created": func(j Job) string { return sqlTime(j.CreatedAt) + j.ID },
		"updated": func(j Job) string { return sqlTime(j.UpdatedAt) + j.ID },
		"name":    func(j Job) string { return strings.ToLower(j.Name) + "\x00" + j.ID },
	}
	for by, key := range keys {
		for _, down := range []bool{false, true} {
			sorted := Sort(by)
			if down {
				sorted = "-" + sorted
			}
			for _, f := range []Filter{{}, {Status: []contract.Status{contract.StatusCancelled}}, {Text: "ETA"}, {DatasetID: "ds_1"}} {
				f.Sort, f.Limit = sorted, 200
				want := pages(t, s, f)
				require.NotEmpty(t, want)
				require.True(t, slices.IsSortedFunc(want, func(a, b Job) int {
					order := strings.Compare(key(a), key(b))
					if down {
						return -order
					}
					return order
				}), "%s", sorted)
				f.Limit = 4
				require.Equal(t, want, pages(t, s, f), "%s in small pages", sorted)
			}
		}
	}
	require.Len(t, pages(t, s, Filter{Text: "ETA", Limit: 200}), 12, "beta and Beta")
	require.Empty(t, pages(t, s, Filter{Text: "%", Limit: 200}), "a sign of LIKE is a letter like any other")
}

func TestACursorGoesWithItsFilterAndOrder(t *testing.T) {
	s := open(t)
	jobs(t, s, 9)
	first, err := s.ListJobs(t.Context(), Filter{Limit: 2, Sort: SortName, DatasetID: "ds_1"})
	require.NoError(t, err)
	require.NotEmpty(t, first.Next)
	for _, f := range []Filter{{Sort: SortName}, {Sort: SortNameDown, DatasetID: "ds_1"}, {DatasetID: "ds_1"}, {Sort: SortName, DatasetID: "ds_2"},
		{Sort: SortName, DatasetID: "ds_1", Text: "a"}} {
		f.Cursor = first.Next
		_, err := s.ListJobs(t.Context(), f)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), "%+v", f)
	}
	_, err = s.ListJobs(t.Context(), Filter{Sort: SortName, DatasetID: "ds_1", Cursor: first.Next, Limit: 7})
	require.NoError(t, err, "another page size is no other list")
	_, err = s.ListEvaluations(t.Context(), Filter{Sort: SortName})
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), "evaluations have no name")
}

// queryLog keeps the statements that a connection runs.
type queryLog struct {
	mu  sync.Mutex
	ran []string
}

func (*queryLog) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (l *queryLog) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ran = append(l.ran, e.Query)
}

// TestListsWalkAnIndex asks SQLite how it answers: at 100,000 jobs a page must cost what a page of ten jobs costs. A search
// by name looks at names in the order of the list, which no index shortens; it sorts nothing either.
func TestListsWalkAnIndex(t *testing.T) {
	s := open(t)
	log := &queryLog{}
	s.reader.DB = s.reader.WithQueryHook(log)
	everything := WithAccess(t.Context(), Access{Everything: true})
	project := WithAccess(t.Context(), Access{UserID: "ada", ProjectID: DefaultProject})
	for who, ctx := range map[string]context.Context{"an owner": everything, "a member in a project": project, "VibeFlow": t.Context()} {
		for _, f := range []Filter{{}, {Sort: SortOldest}, {Sort: SortUpdatedLast}, {Sort: SortName}, {Sort: SortNameDown}, {Text: "a"},
			{Status: []contract.Status{contract.StatusRunning}}, {DatasetID: "ds_1"}, {ModelID: "base"}} {
			f.Cursor = f.cursor(place{id: "job_1", name: "a"})
			log.ran = nil
			_, err := s.ListJobs(ctx, f)
			require.NoError(t, err)
			require.Len(t, log.ran, 1)
			steps := strings.Join(plan(t, s, log.ran[0]), "; ")
			require.NotContains(t, steps, "TEMP B-TREE", "%s, %+v", who, f)
			require.Contains(t, steps, "SEARCH job USING INDEX", "%s, %+v", who, f)
		}
	}
}

func TestSetbacksAreFoundAmongAllThatAJobHasTold(t *testing.T) {
	s := open(t)
	steps := strings.Join(plan(t, s, strings.Replace(selectSetbacks, "?", "'job/job_1'", 1)), "; ")
	require.Contains(t, steps, "USING INDEX events_setbacks", steps)
	require.NotContains(t, steps, "TEMP B-TREE")
}

func plan(t *testing.T, s *Store, query string) (steps []string) {
	t.Helper()
	rows, err := s.writer.DB.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query)
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, steps)
	return steps
}
