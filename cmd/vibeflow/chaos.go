package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/chaos"
)

func (a *app) chaosCommand() *cobra.Command {
	var rounds int
	var only []string
	cmd := &cobra.Command{
		Use: "chaos", Short: "Kill every process in every stage, and compare with the undisturbed run", Args: cobra.NoArgs,
		Long: `Runs VibeFlow on a temporary data folder with the tiny model, kills each of its processes (kill -9) in each stage at a random
moment, restarts only what "up" or systemd would, and compares losses, sample order, adapter, evaluation, export and answers
with those of a run that nothing disturbed. Beside that it cuts the network of a worker elsewhere, has its machine vanish or
come back late, and stops everything as a closed lid does. A round of the whole matrix takes some 40 minutes on 2 cores. Exit
code 8: a cell did not keep the promise.`,
		Example: `  vibeflow chaos
  vibeflow chaos --rounds 5 --json
  vibeflow chaos --only runner --only paused`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cells, err := chosenCells(only)
			if err != nil {
				return err
			}
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM) // what it has started must not outlive it
			defer stop()
			began := time.Now()
			report, err := chaos.Run(ctx, chaos.Options{Binary: binary, Rounds: rounds, Cells: cells, Own: true, Progress: func(line string) {
				if !a.quiet {
					_, _ = fmt.Fprintf(a.err, "%6s  %s\n", time.Since(began).Round(time.Second), line)
				}
			}})
			if err != nil {
				return err
			}
			if err := a.print(report, func(w io.Writer) { _ = report.Write(w) }); err != nil {
				return err
			}
			if !report.Passed() {
				return errRunFailed{contract.Errorf(contract.CodeInternal, "a cell did not keep the promise")}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&rounds, "rounds", 1, "rounds of each cell")
	cmd.Flags().StringArrayVar(&only, "only", nil, "process or stage; repeat for several (default: the whole matrix)")
	return cmd
}

// chosenCells are those whose process or stage is named; nil: all.
func chosenCells(only []string) ([]chaos.Cell, error) {
	if len(only) == 0 {
		return nil, nil
	}
	all, _ := chaos.Matrix()
	var chosen []chaos.Cell
	named := map[string]bool{}
	for _, cell := range all {
		for _, name := range only {
			if name == string(cell.Process) || name == string(cell.Stage) {
				named[name] = true
				chosen = append(chosen, cell)
				break
			}
		}
	}
	for _, name := range only {
		if !named[name] {
			return nil, contract.Errorf(contract.CodeInvalid, "no process and no stage is called %q", name).On("only").Mend("choose among: %s", strings.Join(chaos.Names(), ", "))
		}
	}
	return chosen, nil
}
