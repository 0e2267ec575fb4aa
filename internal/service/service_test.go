package service

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

var odd = Service{Binary: `/opt/my tools/vibeflow`, Args: []string{"up", "--data", `/data/100% "mine" $HOME\<&`}, Path: "/usr/bin"}

func TestAUnitSurvivesOddNames(t *testing.T) {
	t.Parallel()
	unit := systemdUnit(odd)
	require.Contains(t, unit, `ExecStart="/opt/my tools/vibeflow" "up" "--data" "/data/100%% \"mine\" $$HOME\\<&"`)
	require.Contains(t, unit, "KillMode=process", "a stop must not kill the detached")
	require.Contains(t, unit, "OOMPolicy=continue", "a runner that is killed for want of memory must not end all")
	require.Contains(t, unit, "[Unit]\nDescription=VibeFlow\nStartLimitIntervalSec=0\n", "systemd must not give up")
}

func TestAnAgentIsXML(t *testing.T) {
	t.Parallel()
	decoder := xml.NewDecoder(strings.NewReader(launchdAgent(odd)))
	var said []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok {
			said = append(said, string(text))
		}
	}
	require.Subset(t, said, append([]string{odd.Binary}, odd.Args...))
}

// systemd puts a stand-in first in PATH that notes its calls, and fails for the word named.
func systemd(t *testing.T, fails string) (calls func() string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	script := "#!/bin/sh\necho \"$(basename $0) $*\" >> " + dir + "/calls\ncase \"$*\" in *'" + fails + "'*) echo no bus >&2; exit 1;; esac\n"
	for _, command := range []string{"systemctl", "loginctl"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, command), []byte(script), 0o700)) //nolint:gosec // it is run
	}
	return func() string {
		said, err := os.ReadFile(filepath.Join(dir, "calls"))
		require.NoError(t, err)
		return string(said)
	}
}

func TestInstallAndUninstall(t *testing.T) {
	calls := systemd(t, "nothing")
	path, err := odd.Install(t.Context())
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, systemdUnit(odd), string(text))
	require.Equal(t, "systemctl --user daemon-reload\nsystemctl --user enable --now vibeflow\nloginctl enable-linger\n", calls())

	_, err = Uninstall(t.Context())
	require.NoError(t, err)
	require.NoFileExists(t, path)
	require.Contains(t, calls(), "disable --now vibeflow")
	_, err = Uninstall(t.Context())
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
}

func TestWhatCannotBeStartedLeavesNothing(t *testing.T) {
	systemd(t, "enable --now")
	_, err := odd.Install(t.Context())
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.ErrorContains(t, err, "no bus")
	path, _, err := odd.Definition()
	require.NoError(t, err)
	require.NoFileExists(t, path)
}
