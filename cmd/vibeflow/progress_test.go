package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
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
