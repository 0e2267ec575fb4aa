//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/platform"
)

func binary(t testing.TB) string {
	t.Helper()
	path, err := platform.Binary("")
	require.NoError(t, err)
	return path
}

// site is a VibeFlow for one test.
type site struct {
	*platform.Platform
	t *testing.T
}

func newSite(t *testing.T) *site {
	t.Helper()
	p, err := platform.New(binary(t))
	require.NoError(t, err)
	return run(t, p)
}

// run starts a platform, for as long as the test lasts.
func run(t *testing.T, p *platform.Platform) *site {
	t.Helper()
	s := &site{p, t}
	t.Cleanup(func() {
		stopped := p.Stop()
		if t.Failed() {
			t.Log(p.Said())
		}
		require.NoError(t, stopped)
		require.NoError(t, p.Close())
	})
	s.start()
	return s
}

func (p *site) start() {
	p.t.Helper()
	_, err := p.Start(context.Background()) // not the test's context: that ends before the cleanup stops it gently
	require.NoError(p.t, err)
}

func (p *site) kill(process datadir.Process) {
	p.t.Helper()
	require.NoError(p.t, p.Kill(process))
}

// restartFromNothing kills everything, what is detached included, and starts anew.
func (p *site) restartFromNothing() {
	p.t.Helper()
	require.NoError(p.t, p.KillEverything(p.t.Context()))
	p.start()
}

// cli runs a client command and returns what it printed.
func (p *site) cli(args ...string) (stdout, stderr string, code int) {
	p.t.Helper()
	return runCLI(p.t, append(args, "--data", p.Dir.Root())...)
}

func runCLI(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary(t), args...)
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return out.String(), complaints.String(), cmd.ProcessState.ExitCode()
}

// upload ingests content and returns the dataset once it is ready.
func (p *site) upload(name, content string) apigen.Dataset {
	p.t.Helper()
	ds, err := p.Upload(p.t.Context(), name, []byte(content))
	require.NoError(p.t, err)
	return ds
}

// follow calls see for each event of a resource until see says so or the resource is final.
func (p *site) follow(path string, see func(contract.Event) (stop bool)) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	defer cancel()
	err := p.Client.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		if see(e) {
			return apiclient.ErrStop
		}
		return nil
	}, nil)
	require.NoError(p.t, err)
}
