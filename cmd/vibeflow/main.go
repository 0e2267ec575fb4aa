// Command vibeflow is VibeFlow: `up` runs the whole platform on one machine, `temporal`, `server` and `worker` run its
// parts, and everything else is a client of the API. This package is the only place that wires packages together and
// reads the environment.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
)

func main() {
	// Ctrl-C ends a client command; `up` and its processes handle signals themselves (process.go).
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	app := &app{out: os.Stdout, err: os.Stderr}
	root := app.command()
	root.SetArgs(os.Args[1:])
	err := root.ExecuteContext(ctx)
	code := app.report(ctx, err)
	stop()
	os.Exit(code)
}

// command builds the tree of subcommands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "vibeflow",
		Short: "Turn a goal or a dataset into a fine-tuned, evaluated, deployed language model",
		Long: `VibeFlow fine-tunes language models durably: kill any process at any moment and the same run finishes by itself.

  vibeflow demo          see it work on bundled data
  vibeflow up            start it and keep it running
  vibeflow run FILE      fine-tune, evaluate and deploy on a file of your own

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 unexpected, 2 wrong input, 3 not found, 4 wrong state,
5 no server, 6 not allowed, 7 something is missing on this machine, 8 the run failed, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.data, "data", "", "data folder (default $VIBEFLOW_DATA, else ~/.vibeflow)")
	flags.StringVar(&a.server, "server", "", "URL of a VibeFlow server (default: the data folder's own)")
	flags.StringVar(&a.projectFlag, "project", "", "project, by id or name, that the command is about (default $VIBEFLOW_PROJECT, else the default project for what is made, and all for what is shown)")
	flags.BoolVar(&a.json, "json", false, "print results as JSON")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "no progress")
	root.SetFlagErrorFunc(usage)
	root.AddCommand(
		a.upCommand(), a.temporalCommand(), a.serverCommand(), a.workerCommand(), a.doctorCommand(), a.openCommand(),
		a.demoCommand(), a.runCommand(), a.datasetsCommand(), a.modelsCommand(), a.jobsCommand(), a.gcCommand(), a.diskCommand(), a.evaluateCommand(),
		a.deployCommand(), a.chatCommand(), a.exportCommand(), a.keysCommand(), a.pipelinesCommand(),
		a.projectsCommand(), a.usersCommand(), a.loginCommand(), a.logoutCommand(), a.settingsCommand(), a.auditCommand(), a.chaosCommand(), a.serviceCommand(),
		a.backupCommand(), a.restoreCommand(),
	)
	for _, group := range root.Commands() {
		if group.HasSubCommands() && group.RunE == nil {
			group.Args, group.RunE = cobra.ArbitraryArgs, unknownCommand
		}
	}
	return root
}

// unknownCommand refuses a word under a group that is none of its commands; without a word it shows the help.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return contract.Errorf(contract.CodeInvalid, "%q is no command of `%s`", args[0], cmd.CommandPath()).
		Mend("see `%s --help`", cmd.CommandPath())
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "0.1.0-dev"
	}
	return info.Main.Version
}
