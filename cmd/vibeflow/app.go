package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/login"
)

// app carries the global flags and the streams of one invocation.
type app struct {
	out, err    io.Writer
	data        string
	server      string
	projectFlag string
	json, quiet bool
	drawn       *line // the newest line of progress
}

func (a *app) dataPath() (string, error) {
	if a.data != "" {
		return a.data, nil
	}
	return datadir.Default()
}

// dataDir opens the data folder that the flags name.
func (a *app) dataDir() (*datadir.Dir, error) {
	path, err := a.dataPath()
	if err != nil {
		return nil, err
	}
	return datadir.Open(path)
}

// client is signed in to the server that the flags name, for the project that they name.
func (a *app) client() (*apiclient.Client, error) {
	c, err := a.signedIn()
	if err != nil {
		return nil, err
	}
	named := cmp.Or(a.projectFlag, os.Getenv("VIBEFLOW_PROJECT"))
	if named == "" {
		return c, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpPatience)
	defer cancel()
	c.Project, err = projectID(ctx, c, named)
	return c, err
}

// signedIn signs in with the data folder's token. To a server elsewhere (--server) it signs in with $VIBEFLOW_TOKEN, else
// with the session of `vibeflow login`; the data folder's token goes to another machine only if --data names the folder.
// It makes no data folder: what has never been started has nothing to tell.
func (a *app) signedIn() (*apiclient.Client, error) {
	if a.server == "" {
		return a.folderClient("")
	}
	if token := os.Getenv("VIBEFLOW_TOKEN"); token != "" {
		return &apiclient.Client{Base: a.server, Token: token}, nil
	}
	server, err := login.Server(a.server)
	if err != nil {
		return nil, err
	}
	logins, err := login.Default()
	if err != nil {
		return nil, err
	}
	_, ok, err := logins.Get(server)
	if err != nil {
		return nil, err
	}
	if ok {
		return &apiclient.Client{Base: server, Renew: logins.Renewer(server)}, nil
	}
	if a.data != "" || strings.HasPrefix(server, "http://") { // plain HTTP: this machine's
		c, err := a.folderClient(server)
		if contract.CodeOf(err) != contract.CodeUnavailable {
			return c, err
		}
	}
	return nil, contract.Errorf(contract.CodeUnauthenticated, "you are not signed in to %s", server).
		Mend("vibeflow login %s; or put a token into $VIBEFLOW_TOKEN, or name the server's data folder with --data", server)
}

// folderClient signs in with the data folder's token, to the folder's own server unless another is named.
func (a *app) folderClient(base string) (*apiclient.Client, error) {
	path, err := a.dataPath()
	if err != nil {
		return nil, err
	}
	dir, err := datadir.Find(path)
	if err != nil {
		return nil, err
	}
	token, err := dir.Existing(datadir.SecretCLIToken)
	if err != nil {
		return nil, err
	}
	var patience time.Duration
	if _, supervised := dir.Owner(string(datadir.ProcessUp)); supervised {
		patience = restartPatience
	}
	if base == "" {
		at, _, ok := dir.Published(datadir.ProcessServer)
		if !ok {
			return nil, dir.NotRunning()
		}
		base = at.Server
	}
	return &apiclient.Client{Base: base, Token: token, Patience: patience}, nil
}

// lookUpPatience bounds the look-up of a project by its name.
const lookUpPatience = 10 * time.Second

// restartPatience is how long a command waits for a server that `up` is restarting.
const restartPatience = 5 * time.Second

// hint is a command that goes on from here, on the same data folder and server.
func (a *app) hint(format string, args ...any) string {
	words := []string{"vibeflow"}
	for _, flag := range []struct{ name, value string }{{"--data", a.data}, {"--server", a.server}} {
		if flag.value != "" {
			words = append(words, flag.name, shellWord(flag.value))
		}
	}
	return strings.Join(append(words, fmt.Sprintf(format, args...)), " ")
}

// shellWord quotes what a shell would not read as one word.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

var plainWord = regexp.MustCompile(`^[\w@%+=:,./~-]+$`)

// print writes a result: as JSON when asked for, else as the text says.
func (a *app) print(value any, text func(w io.Writer)) error {
	if a.json {
		encoder := json.NewEncoder(a.out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	text(a.out)
	return nil
}

// settle takes back a line of progress that is being drawn, so that what is said next has a line of its own.
func (a *app) settle() {
	if a.drawn != nil {
		a.drawn.clear()
	}
}

// note writes a line of progress.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		a.settle()
		_, _ = fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// errRunFailed ends a command whose run, not whose call, has failed; the run's own error is wrapped.
type errRunFailed struct{ cause *contract.Error }

func (e errRunFailed) Error() string { return e.cause.Error() }
func (e errRunFailed) Unwrap() error { return e.cause }

// errTold is an error that its reader has been told of already.
type errTold struct{ error }

func (e errTold) Unwrap() error { return e.error }

// usage is a complaint about how cmd was called.
func usage(cmd *cobra.Command, err error) error {
	return contract.Errorf(contract.CodeInvalid, "%w", err).Mend("see `%s --help`", cmd.CommandPath())
}

// cobraComplaint recognises what cobra says of wrong arguments; it has no type of its own for it.
var cobraComplaint = regexp.MustCompile(`^unknown command|arg\(s\)|^required flag\(s\)`)

// report tells a person (or a script) how it went and returns the exit code.
func (a *app) report(ctx context.Context, err error) int {
	if err == nil {
		return 0
	}
	var told errTold
	if errors.As(err, &told) {
		return exitCode(err, contract.CodeOf(err))
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		a.settle()
		a.note("interrupted; what was started goes on (see `%s` and `%s`)", a.hint("pipelines list"), a.hint("jobs list"))
		return exitInterrupted
	}
	var typed *contract.Error
	if !errors.As(err, &typed) {
		// Cobra's own complaints about arguments are not typed.
		typed = &contract.Error{Code: contract.CodeInternal, Message: err.Error()}
		if cobraComplaint.MatchString(err.Error()) {
			typed.Code = contract.CodeInvalid
		}
	}
	a.complain(typed)
	return exitCode(err, typed.Code)
}

// complain also says where to look for what was not found, if nobody else has.
func (a *app) complain(e *contract.Error) {
	if a.json {
		_ = json.NewEncoder(a.err).Encode(map[string]any{"error": e})
		return
	}
	a.settle()
	if kind := absent.FindStringSubmatch(e.Message); e.Code == contract.CodeNotFound && e.Remedy == "" && kind != nil {
		e.Remedy = "see `" + a.hint("%s list", lists[kind[1]]) + "`"
	}
	_, _ = fmt.Fprintf(a.err, "vibeflow: %s\n", e.Message)
	if e.Field != "" {
		_, _ = fmt.Fprintf(a.err, "  at: %s\n", e.Field)
	}
	if e.Remedy != "" {
		_, _ = fmt.Fprintf(a.err, "  try: %s\n", e.Remedy)
	}
}

// absent recognises what the server says of an id that is none.
var absent = regexp.MustCompile(`^there is no (dataset|model|job|pipeline|deployment|project) "`)

var lists = map[string]string{"dataset": "datasets", "model": "models", "job": "jobs", "pipeline": "pipelines", "deployment": "deploy", "project": "projects"}

const (
	exitUnexpected  = 1
	exitInvalid     = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitNoServer    = 5
	exitNotAllowed  = 6
	exitMissing     = 7
	exitRunFailed   = 8
	exitInterrupted = 130
)

// Codes that engines use under /v1, after OpenAI's.
const (
	codeInvalidValue         contract.Code = "invalid_value"
	codeUnsupportedParameter contract.Code = "unsupported_parameter"
)

// exitCode is the one place that maps codes to exit statuses; supervise reads them from `up`'s children.
func exitCode(err error, code contract.Code) int {
	var failed errRunFailed
	if errors.As(err, &failed) {
		return exitRunFailed
	}
	switch code {
	case contract.CodeInvalid, codeInvalidValue, codeUnsupportedParameter, contract.CodeTooLarge, contract.CodeUnsupported, contract.CodeInvalidConfig, contract.CodeBadData:
		return exitInvalid
	case contract.CodeNotFound:
		return exitNotFound
	case contract.CodeConflict, contract.CodePrecondition, contract.CodeNoPrecondition:
		return exitConflict
	case contract.CodeUnavailable, contract.CodeRateLimited:
		return exitNoServer
	case contract.CodeUnauthenticated, contract.CodeForbidden:
		return exitNotAllowed
	case contract.CodePrerequisite, contract.CodeStorageAway, contract.CodeInUse, contract.CodeDiskFull, contract.CodeEnvironment:
		return exitMissing
	default:
		return exitUnexpected
	}
}

// oneArg is cobra.ExactArgs(1) with a message that says what is wanted.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return contract.Errorf(contract.CodeInvalid, "give exactly one %s", what).Mend("usage: %s", cmd.UseLine())
	}
}
