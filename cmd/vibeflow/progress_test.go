package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/dataset"
)

func TestTheTimeLeftIsSaidNoMorePreciselyThanItIsKnown(t *testing.T) {
	t.Parallel()
	known := func(seconds, low, high float64) left { return left{&seconds, low, high} }
	for _, c := range []struct {
		left left
		want string
	}{
		{left{}, "estimating…"},
		{known(0, 0, 0), ""},
		{known(95, 0, 0), "about 1 min 35 s left"}, // of a runner that told no range
		{known(4, 3, 6), "a few seconds left"},
		{known(30, 22, 41), "20–45 s left"},
		{known(30, 28, 33), "25–35 s left"},
		{known(70, 50, 90), "under 2 min left"},
		{known(200, 185, 230), "about 3 min left"},
		{known(400, 250, 600), "4–10 min left"},
		{known(5400, 4900, 6100), "1:20–1:50 h left"},
		{known(90000, 80000, 100000), "22–28 h left"},
	} {
		require.Equal(t, c.want, c.left.String(), "%+v", c.left)
	}
}

func TestAWatcherSeesEveryTurn(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	view := trainingView{bar: &line{w: &out}}
	for _, e := range []struct{ kind, payload string }{
		{contract.RunnerLog, `{"level":"info","message":"Device: CPU. Threads: 2."}`},
		{contract.RunnerLog, `{"level":"warn","message":"Many rows are cut."}`},
		{contract.RunnerStarted, `{"total_steps":40}`},
		{contract.RunnerMetrics, `{"step":1,"loss":2.5,"tokens_per_second":201,"eta_seconds":null}`},
		{contract.RunnerMetrics, `{"step":2,"loss":2.4,"tokens_per_second":201,"eta_seconds":null}`},
		{contract.RunnerLog, `{"level":"info","message":"Checkpoint at step 2."}`}, // for the log alone
		{contract.EventType(contract.KindJob, contract.EventPaused), `{}`},
		{contract.EventType(contract.KindJob, contract.EventStarted), `{}`},
		{contract.RunnerResumed, `{"step":2,"from":"step-00000002"}`},
		{contract.RunnerMetrics, `{"step":20,"loss":1.5,"tokens_per_second":201,"eta_seconds":90,"eta_low_seconds":62,"eta_high_seconds":178}`},
		{contract.RunnerProgress, `{"phase":"held_out_loss","done":30,"total":100,"eta_seconds":20,"eta_low_seconds":18,"eta_high_seconds":22}`},
	} {
		require.NoError(t, view.event(contract.Event{Type: e.kind, Payload: []byte(e.payload)}))
	}
	require.Equal(t, []string{
		"  preparing  Device: CPU",
		"! Many rows are cut.",
		"  training   2 %  step 1/40  loss 2.500  201 tok/s  estimating…", // the second step comes too soon to be told
		"  paused   5 %",
		"  starting the runner   5 %",
		"  resumed from step 2   5 %",
		"  training  50 %  step 20/40  loss 1.500  201 tok/s  1–3 min left",
		"  held-out loss  30 %  row 30/100  15–25 s left",
	}, strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"))
}

func TestALineThatIsRedrawnNeverWraps(t *testing.T) {
	t.Parallel()
	const columns = 80
	var out bytes.Buffer
	l := &line{w: &out, terminal: true, columns: columns, started: time.Now()}
	for step := range 3 {
		l.lastDraw = time.Time{}
		l.update("training", float64(step), 6000, fmt.Sprintf("step %d/6000  loss 1.091  223 tok/s  30–55 min left", step))
		require.Contains(t, out.String(), fmt.Sprintf("step %d/6000  loss 1.091  223 tok/s  30–55 min left", step), "the bar gives way, not the words")
	}
	for _, drawn := range strings.Split(out.String(), "\r") {
		require.Less(t, utf8.RuneCountInString(drawn), columns, drawn)
	}
	out.Reset()
	l.clear()
	require.Equal(t, "\r\x1b[K", out.String(), "a complaint gets a line of its own")
	out.Reset()
	l.clear()
	require.Empty(t, out.String(), "there is nothing to take back any more")
}

func TestWhatIsLeftOutHasItsReasons(t *testing.T) {
	t.Parallel()
	require.Equal(t, ", 33 left out (27 repeated, 6 invalid)", leftOut(map[string]int64{"invalid": 6, "duplicate": 27, "too_long": 0}))
	require.Empty(t, leftOut(nil))
}

func TestAFileThatWasReadCitesTheRowsThatAreLeftOut(t *testing.T) {
	t.Parallel()
	profile := func(errors int) apigen.Dataset {
		found := dataset.Issues{Errors: int64(errors), Warnings: 1, Cited: []dataset.Issue{
			{Row: 2, Line: 3, Field: "answer", Code: dataset.IssueNumberAsText, Severity: dataset.SeverityWarning, Message: "answer is a number; it is used as text"}}}
		for i := range errors {
			found.Cited = append(found.Cited, dataset.Issue{Row: int64(4 + i), Line: int64(5 + i), Field: "answer", Code: dataset.IssueMissingField,
				Severity: dataset.SeverityError, Message: "answer is missing"})
		}
		data, err := json.Marshal(map[string]any{"issues": found})
		require.NoError(t, err)
		return apigen.Dataset{ID: "ds_1", Profile: data}
	}
	cited := func(ds apigen.Dataset) string {
		var out strings.Builder
		(&app{err: &out, data: "/data"}).cite(ds)
		return out.String()
	}
	require.Equal(t, "! row 4 (line 5), answer: answer is missing\n", cited(profile(1)))
	require.Equal(t, `! row 4 (line 5), answer: answer is missing
! row 5 (line 6), answer: answer is missing
! row 6 (line 7), answer: answer is missing
! and 2 more: vibeflow --data /data datasets issues ds_1
`, cited(profile(5)))
	require.Empty(t, cited(profile(0)), "a row with a warning is used")
	require.Empty(t, cited(apigen.Dataset{}))
}

func TestTheIssuesOfADatasetAreATable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	printIssues(&out, dataset.Issues{Errors: 40, Counts: []dataset.IssueCount{{Code: dataset.IssueMissingField, Severity: dataset.SeverityError, Count: 40}},
		Cited: []dataset.Issue{{Row: 4, Line: 5, Field: "answer", Code: dataset.IssueMissingField, Severity: dataset.SeverityError, Message: "answer is missing"}}})
	require.Equal(t, `WHERE                   SEVERITY  CODE           WHAT
row 4 (line 5), answer  error     missing_field  answer is missing

shown are 1 of 40:
  40 missing_field
`, out.String())
	out.Reset()
	printIssues(&out, dataset.Issues{})
	require.Equal(t, "no row is invalid or odd\n", out.String())
}

func TestAFailureNamesTheCommandThatGoesOn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{err: &out}
	failed := apigen.Pipeline{ID: "pipe_1", Status: "failed", Error: contract.Error{Code: contract.CodeModelUnavailable, Message: "the Hub cannot be reached", Remedy: "check the network, then retry"}}
	require.Equal(t, "check the network; then `vibeflow pipelines retry pipe_1` runs that stage alone again", a.unfinished(failed).Remedy)
	failed.Error.Remedy = ""
	require.Equal(t, "`vibeflow pipelines retry pipe_1` runs that stage alone again", a.unfinished(failed).Remedy)
	require.Equal(t, "the pipeline was cancelled", a.unfinished(apigen.Pipeline{Status: "cancelled"}).Message)
	columns := apigen.Dataset{ID: "ds_1", Error: contract.Error{Code: contract.CodeBadData, Field: "mapping", Message: "no known format has the columns …"}}
	require.Contains(t, a.unread(columns).Remedy, "vibeflow run ds_1 --map")

	a.complain(contract.Errorf(contract.CodeNotFound, "there is no job %q", "job_x").On("id"))
	require.Contains(t, out.String(), "vibeflow jobs list")
}

func TestAHintNamesTheSameServer(t *testing.T) {
	t.Parallel()
	require.Equal(t, "vibeflow jobs list", (&app{}).hint("jobs list"))
	a := &app{data: "/data/it's mine", server: "https://vibeflow.example"}
	require.Equal(t, `vibeflow --data '/data/it'\''s mine' --server https://vibeflow.example pipelines watch pipe_1`, a.hint("pipelines watch %s", "pipe_1"))
}

func TestTheDemoSaysHowOthersAreLetIn(t *testing.T) {
	t.Parallel()
	require.NoError(t, ownServer{listen: "127.0.0.1:8401"}.check())
	var refused *contract.Error
	require.ErrorAs(t, ownServer{listen: "0.0.0.0:8401"}.check(), &refused)
	require.NotContains(t, refused.Remedy, "--insecure-expose", "the demo has no such flag")
	require.Contains(t, refused.Remedy, "vibeflow up")
}

func TestAJobThatPausesByItselfSaysWhy(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	view := trainingView{app: &app{}, bar: &line{w: &out}, total: 40, step: 20}
	require.NoError(t, view.event(contract.Event{Stream: "job/job_1", Type: "job.paused",
		Payload: []byte(`{"step":20,"error":{"code":"disk_full","message":"the disk is full","remedy":"make room"}}`)}))
	require.Equal(t, "! paused: the disk is full (make room); then: vibeflow jobs resume job_1\n  paused  50 %\n", out.String())
}

func TestWhoWaitsForWhatIsOnItsWayHasNothingToAsk(t *testing.T) {
	t.Parallel()
	refused := contract.Errorf(contract.CodeConflict, "the job is pausing: it cannot be paused now")
	for status, want := range map[contract.Status]error{
		contract.StatusPausing: nil, contract.StatusPaused: nil, contract.StatusCompleted: refused, contract.StatusCancelling: refused,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"id":"job_1","status":%q}`, status)
		}))
		job, err := asked(t.Context(), &apiclient.Client{Base: server.URL}, "/api/training/job_1", contract.StatusPaused, refused)
		server.Close()
		require.Equal(t, want, err, status)
		require.Equal(t, string(status), string(job.Status))
	}
}

func TestAFailureThatWasToldIsNotToldAgain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &app{err: &out}
	failed := errRunFailed{contract.Errorf(contract.CodeConflict, "its training was cancelled")}
	told := a.serveOn(failed, failed)
	require.Contains(t, out.String(), "its training was cancelled")
	require.Contains(t, out.String(), "VibeFlow goes on serving")
	out.Reset()
	require.Equal(t, exitRunFailed, a.report(t.Context(), told))
	require.Empty(t, out.String())
	require.NoError(t, a.serveOn(errRunFailed{}, nil))
}
