//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/chaos"
)

// TestKillAnything is the short form of `vibeflow chaos`: a cell or two of every stage and every process.
func TestKillAnything(t *testing.T) {
	cells := []chaos.Cell{
		{Process: chaos.Server, Stage: chaos.Ingest},
		{Process: chaos.Runner, Stage: chaos.Epoch1},
		{Process: chaos.Worker, Stage: chaos.Epoch1},
		{Process: chaos.Temporal, Stage: chaos.Epoch2},
		{Process: chaos.Everything, Stage: chaos.Epoch2},
		{Process: chaos.Runner, Stage: chaos.Checkpoint},
		{Process: chaos.Everything, Stage: chaos.Paused},
		{Process: chaos.Worker, Stage: chaos.Evaluate},
		{Process: chaos.Runner, Stage: chaos.Export},
		{Process: chaos.Engine, Stage: chaos.Deployed},
	}
	t.Parallel()
	requireProven(t, cells)
	all, leftOut := chaos.Matrix()
	require.Len(t, append(names(all), leftOut...), 11*8, "every cell is proven or left out by name")
}

// TestLoseAnything is the same of what is not killed: it waits for heartbeat timeouts, more than it works.
func TestLoseAnything(t *testing.T) {
	t.Parallel()
	requireProven(t, []chaos.Cell{
		{Process: chaos.Network, Stage: chaos.Epoch1},
		{Process: chaos.Late, Stage: chaos.Epoch1},
		{Process: chaos.Machine, Stage: chaos.Paused},
		{Process: chaos.Sleep, Stage: chaos.Epoch1},
	})
}

func requireProven(t *testing.T, cells []chaos.Cell) {
	t.Helper()
	report, err := chaos.Run(t.Context(), chaos.Options{Binary: binary(t), Cells: cells, Progress: func(line string) { t.Log(line) }})
	require.NoError(t, err)
	require.Len(t, report.Cells, len(cells))
	for _, cell := range report.Cells {
		require.True(t, cell.Passed(), "%s, %s: %+v", cell.Process, cell.Stage, cell)
	}
	require.Zero(t, report.LeftBehind, "no process is left over")
}

func names(cells []chaos.Cell) (out []chaos.LeftOut) {
	for _, cell := range cells {
		out = append(out, chaos.LeftOut{Process: cell.Process, Stage: cell.Stage})
	}
	return out
}

// rows makes n short questions and answers, each different.
func rows(n int) string { return string(chaos.Rows(n)) }
