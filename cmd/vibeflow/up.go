package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/doctor"
	"github.com/vibeflow/vibeflow/internal/supervise"
)

func (a *app) upCommand() *cobra.Command {
	var flags serverFlags
	var verbose, noWorker bool
	cmd := &cobra.Command{
		Use: "up", Short: "Start VibeFlow and keep it running; Ctrl-C pauses what trains and stops",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			ctx, hurry, stop := upContext(cmd.Context())
			defer stop()
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			options := a.supervision(dir, flags.listen, verbose, hurry, func(at datadir.Endpoints) { a.welcome(ctx, dir, at) })
			options.Args[datadir.ProcessServer] = append(options.Args[datadir.ProcessServer], flags.args()...)
			if noWorker {
				options.Elsewhere = append(options.Elsewhere, datadir.ProcessWorker)
			}
			return supervise.Run(ctx, options)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show everything that the processes log")
	cmd.Flags().BoolVar(&noWorker, "no-worker", false, "leave this machine's worker out: workers elsewhere do the work (`vibeflow worker`)")
	return cmd
}

// welcome prints the link by which a new installation's owner signs in. Without it `vibeflow open` does.
func (a *app) welcome(ctx context.Context, dir *datadir.Dir, at datadir.Endpoints) {
	token, err := dir.Existing(datadir.SecretCLIToken)
	if err != nil {
		return
	}
	c := &apiclient.Client{Base: at.Server, Token: token}
	status, err := apiclient.Get[apigen.AuthStatus](ctx, c, "/api/auth/status", nil)
	if err != nil || !status.NeedsOwner {
		return
	}
	if link, err := apiclient.Post[apigen.SignInLink](ctx, c, "/api/auth/link", nil); err == nil {
		a.note("Sign in as its owner: %s (works once, for a quarter of an hour; `vibeflow open` makes another)", link.URL)
	}
}

// upContext ends on the first Ctrl-C or SIGTERM; hurry is closed by the second.
func upContext(parent context.Context) (ctx context.Context, hurry <-chan struct{}, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	again := make(chan struct{})
	go func() {
		if _, ok := <-signals; ok {
			cancel()
		}
		if _, ok := <-signals; ok {
			close(again)
		}
	}()
	return ctx, again, sync.OnceFunc(func() { signal.Stop(signals); close(signals); cancel() })
}

func (a *app) supervision(dir *datadir.Dir, listen string, verbose bool, hurry <-chan struct{}, ready func(datadir.Endpoints)) supervise.Options {
	out := a.err
	if a.quiet {
		out = io.Discard
	}
	options := supervise.Options{
		DataDir: dir, Listen: listen, Verbose: verbose, Out: out, Err: a.err, Ready: ready, Hurry: hurry,
		Args: map[datadir.Process][]string{datadir.ProcessServer: {"--" + besideWorker}},
	}
	if os.Getenv("VIBEFLOW_TEMPORAL") != "" {
		options.Elsewhere = append(options.Elsewhere, datadir.ProcessTemporal)
	}
	return options
}

// ownServer is how withServer starts a server where none runs: at which address, and whether it stays until Ctrl-C.
type ownServer struct {
	listen string
	keep   bool
}

// check refuses an address beyond this machine: only up and server have the flags that make one safe.
func (o ownServer) check() error {
	if err := checkExposure(o.listen, false); err != nil {
		return contract.Errorf(contract.CodeInvalid, "%s", err.Message).On("listen").
			Mend("give an address of this machine, such as 127.0.0.1:8401; to let others in, run `vibeflow up` afterwards: its --help has the flags for TLS")
	}
	return nil
}

// withServer calls work with a client of the running server, or starts one for as long as the work takes.
func (a *app) withServer(parent context.Context, own ownServer, work func(context.Context, *apiclient.Client) error) error {
	c, err := a.client()
	switch {
	case a.server != "" && err != nil:
		return err
	case err == nil:
		ready, err := apiclient.Get[apigen.Health](parent, c, "/readyz", nil)
		if a.server != "" || (err == nil && ready.Status == "ready") {
			return work(parent, c)
		}
	}
	ctx, hurry, stop := upContext(parent)
	defer stop()
	return a.withOwnServer(ctx, hurry, own, work)
}

func (a *app) withOwnServer(ctx context.Context, hurry <-chan struct{}, own ownServer, work func(context.Context, *apiclient.Client) error) error {
	dir, err := a.dataDir()
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	options := a.supervision(dir, own.listen, false, hurry, func(datadir.Endpoints) { close(ready) })
	go func() { ended <- supervise.Run(running, options) }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	err = a.onceReady(running, work)
	var failed errRunFailed
	if own.keep && (err == nil || errors.As(err, &failed)) {
		told := a.serveOn(failed, err)
		if err := <-ended; err != nil {
			return err
		}
		return told
	}
	stop()
	return errors.Join(err, <-ended)
}

// serveOn says what became of the work before its server is left running: a run that failed can be retried there.
func (a *app) serveOn(failed errRunFailed, err error) error {
	if err != nil {
		a.complain(failed.cause)
		err = errTold{err}
	}
	a.note("\nVibeFlow goes on serving; Ctrl-C stops it. In a browser: %s", a.hint("open"))
	return err
}

func (a *app) onceReady(ctx context.Context, work func(context.Context, *apiclient.Client) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return work(ctx, c)
}

func (a *app) openCommand() *cobra.Command {
	var printOnly bool
	cmd := &cobra.Command{
		Use: "open", Short: "Open VibeFlow in a browser, signed in", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			link, err := apiclient.Post[apigen.SignInLink](cmd.Context(), c, "/api/auth/link", nil)
			if err != nil {
				return err
			}
			if !printOnly && browse(link.URL) == nil {
				a.note("opened in your browser; the link works once")
				return nil
			}
			return a.print(link, func(w io.Writer) { _, _ = fmt.Fprintln(w, link.URL) })
		},
	}
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the one-time link instead")
	return cmd
}

func browse(url string) error {
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	return exec.Command(opener, url).Start() //nolint:gosec // our own server's link
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check this machine and say what to mend", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := a.dataPath()
			if err != nil {
				return err
			}
			checks := doctor.Run(cmd.Context(), doctor.Options{DataDir: path, Python: pythonOptions()})
			if err := a.print(checks, func(w io.Writer) { printChecks(w, checks) }); err != nil {
				return err
			}
			for _, check := range checks {
				if check.Status == doctor.Fail {
					return contract.Errorf(contract.CodePrerequisite, "%s: %s", check.Name, check.Found).Mend("%s", check.Remedy)
				}
			}
			return nil
		},
	}
}

func printChecks(w io.Writer, checks []doctor.Check) {
	t := table(w)
	for _, check := range checks {
		row(t, check.Status, check.Name, check.Found, check.Remedy)
	}
	_ = t.Flush()
}
