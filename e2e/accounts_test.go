//go:build e2e

package e2e

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

var firstLink = regexp.MustCompile(`http://\S+/signin#(\S+)`)

// TestTwoPeople does what an owner and somebody whom they invite do, by link and CLI: each sees what is theirs, also after
// the server was killed.
func TestTwoPeople(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	var link []string
	require.Eventually(t, func() bool {
		link = firstLink.FindStringSubmatch(p.Said())
		return link != nil
	}, 30*time.Second, 20*time.Millisecond, "up says how its owner signs in")
	stranger := &apiclient.Client{Base: p.Client.Base}
	signed, err := apiclient.Post[apigen.Session](t.Context(), stranger, "/api/auth/redeem", apigen.Redeem{Code: link[1]})
	require.NoError(t, err)
	owner := &apiclient.Client{Base: p.Client.Base, Token: signed.AccessToken}
	_, err = apiclient.Post[apigen.Session](t.Context(), owner, "/api/auth/register", apigen.Register{Email: "owner@example.com", Password: "correct horse"})
	require.NoError(t, err)

	stdout, stderr, code := p.cli("users", "add", "ada@example.com", "--json")
	require.Zero(t, code, stderr)
	var invited apigen.Invitation
	require.NoError(t, json.Unmarshal([]byte(stdout), &invited))
	at, err := url.Parse(invited.Link.URL)
	require.NoError(t, err)
	_, err = apiclient.Post[apigen.Session](t.Context(), stranger, "/api/auth/reset", apigen.ResetPassword{Code: at.Fragment, Password: "battery staple"})
	require.NoError(t, err)

	config := t.TempDir()
	ada := func(stdin string, args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), binary(t), append(args, "--data", filepath.Join(config, "none"))...)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+config, "HOME="+config, "VIBEFLOW_TOKEN=")
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			require.NoError(t, err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	out, code := ada("", "projects", "list", "--server", p.Client.Base)
	require.Equal(t, 6, code, out)
	require.Contains(t, out, "vibeflow login")
	out, code = ada("ada@example.com\nwrong staple\n", "login", p.Client.Base)
	require.Equal(t, 6, code, out)
	out, code = ada("ada@example.com\nbattery staple\n", "login", p.Client.Base)
	require.Zero(t, code, out)

	file := filepath.Join(config, "sums.jsonl")
	require.NoError(t, os.WriteFile(file, []byte(rows(200)), 0o600))
	out, code = ada("", "datasets", "upload", file, "--server", p.Client.Base)
	require.Zero(t, code, out)
	mine := p.upload("owners", rows(200))
	list := func() string {
		out, code := ada("", "datasets", "list", "--server", p.Client.Base)
		require.Zero(t, code, out)
		return out
	}
	require.Contains(t, list(), "sums")
	require.NotContains(t, list(), "owners")
	out, code = ada("", "datasets", "get", mine.ID, "--server", p.Client.Base)
	require.Equal(t, 3, code, out)
	out, code = ada("", "users", "list", "--server", p.Client.Base)
	require.Equal(t, 6, code, out)

	p.kill(datadir.ProcessServer)
	require.NoError(t, p.Client.WaitReady(t.Context()))
	require.Contains(t, list(), "sums", "a session outlives the server")

	_, stderr, code = p.cli("users", "disable", "ada@example.com")
	require.Zero(t, code, stderr)
	out, code = ada("", "datasets", "list", "--server", p.Client.Base)
	require.Equal(t, 6, code, out)

	stdout, stderr, code = p.cli("audit", "--json")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, `"updateUser"`)
	logs, err := filepath.Glob(filepath.Join(p.Dir.Logs(), "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, logs)
	for _, path := range logs {
		said, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, secret := range []string{link[1], at.Fragment, "battery staple", signed.AccessToken} {
			require.NotContains(t, string(said), secret, path)
		}
	}
}
