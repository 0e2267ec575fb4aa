// Package service has the operating system keep VibeFlow running: started at boot, and again when it dies, so that a run
// finishes by itself through a reboot. systemd on Linux, launchd on macOS; both of the user's own, without root.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Service is what is to be kept running: Args follow `vibeflow`. Path is $PATH, where Python is looked for: a service has a
// short one of its own.
type Service struct {
	Binary string
	Args   []string
	Path   string
}

// manager is an operating system's way.
type manager struct {
	// path of the definition, which text fills.
	path func() (string, error)
	text func(Service) string
	// start and stop are commands; the last of stop may fail, for what does not run cannot be stopped.
	start, stop [][]string
	// remedy is for a machine whose manager does not answer.
	remedy string
}

const name = "vibeflow"

var managers = map[string]manager{
	"linux": {
		path: systemdPath, text: systemdUnit,
		start: [][]string{{"systemctl", "--user", "daemon-reload"}, {"systemctl", "--user", "enable", "--now", name}, {"loginctl", "enable-linger"}},
		stop:  [][]string{{"systemctl", "--user", "disable", "--now", name}},
		remedy: "run it in a session of your own on a machine with systemd; elsewhere have what starts services run the command " +
			"that `vibeflow service print` shows",
	},
	"darwin": {
		path: launchdPath, text: launchdAgent,
		start:  [][]string{{"launchctl", "load", "-w", "{path}"}},
		stop:   [][]string{{"launchctl", "unload", "-w", "{path}"}},
		remedy: "log in at the machine itself, and run the command there",
	},
}

func here() (manager, error) {
	m, ok := managers[runtime.GOOS]
	if !ok {
		return m, contract.Errorf(contract.CodeUnsupported, "there is no way to install a service on %s", runtime.GOOS).Mend("start `vibeflow up` by hand")
	}
	return m, nil
}

// Definition is what Install writes, and where.
func (s Service) Definition() (path, text string, err error) {
	m, err := here()
	if err != nil {
		return "", "", err
	}
	path, err = m.path()
	return path, m.text(s), err
}

// Install writes the definition and starts the service, now and at every boot. An earlier definition is replaced. Where it
// cannot be started (CodePrerequisite) nothing is left behind.
func (s Service) Install(ctx context.Context) (path string, err error) {
	m, err := here()
	if err != nil {
		return "", err
	}
	path, text, err := s.Definition()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as systemd makes it
		return "", err
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", err
	}
	if err := m.run(ctx, path, m.start); err != nil {
		_ = m.run(ctx, path, m.stop) // the reason is err's
		return "", errors.Join(err, os.Remove(path))
	}
	return path, nil
}

// Uninstall stops the service, which saves what trains, and removes its definition. CodeNotFound: there is none.
func Uninstall(ctx context.Context) (path string, err error) {
	m, err := here()
	if err != nil {
		return "", err
	}
	if path, err = m.path(); err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return "", contract.Errorf(contract.CodeNotFound, "no service is installed: there is no %s", path)
	}
	return path, errors.Join(m.run(ctx, path, m.stop), os.Remove(path))
}

func (m manager) run(ctx context.Context, path string, commands [][]string) error {
	for _, command := range commands {
		args := make([]string, len(command))
		for i, arg := range command {
			args[i] = strings.ReplaceAll(arg, "{path}", path)
		}
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput() //nolint:gosec // the table's own
		if err != nil {
			return contract.Errorf(contract.CodePrerequisite, "`%s` failed: %s", strings.Join(args, " "), cmp.Or(strings.TrimSpace(string(out)), err.Error())).Mend("%s", m.remedy)
		}
	}
	return nil
}

func systemdPath() (string, error) {
	config, err := os.UserConfigDir()
	return filepath.Join(config, "systemd", "user", name+".service"), err
}

// systemdUnit restarts `up` whatever it dies of. KillMode=process: runners and engines are detached, and outlive `up`; on a
// stop it has them save itself, within three minutes. Without a start limit: systemd's own gives up for good after five deaths
// in ten seconds. OOMPolicy=continue: systemd's own stops all of it when the system kills a runner for want of memory, of which the
// worker makes a smaller batch.
func systemdUnit(s Service) string {
	words := []string{systemdWord(s.Binary)}
	for _, arg := range s.Args {
		words = append(words, systemdWord(arg))
	}
	return fmt.Sprintf(`[Unit]
Description=VibeFlow
StartLimitIntervalSec=0

[Service]
Environment=%s
ExecStart=%s
Restart=always
RestartSec=1
KillMode=process
OOMPolicy=continue
TimeoutStopSec=200

[Install]
WantedBy=default.target
`, systemdQuoted("PATH="+s.Path), strings.Join(words, " "))
}

// systemdWord quotes a word of a command line, where variables are expanded (systemd.service(5), "Command lines").
func systemdWord(word string) string { return systemdQuoted(strings.ReplaceAll(word, "$", "$$")) }

func systemdQuoted(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, "\n", `\n`).Replace(word) + `"`
}

func launchdPath() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "LaunchAgents", "dev."+name+".plist"), err
}

// launchdAgent is the same for launchd; AbandonProcessGroup leaves the detached alone.
func launchdAgent(s Service) string {
	escape := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace
	var words strings.Builder
	for _, word := range append([]string{s.Binary}, s.Args...) {
		fmt.Fprintf(&words, "    <string>%s</string>\n", escape(word))
	}
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>dev.%s</string>
  <key>ProgramArguments</key>
  <array>
%s  </array>
  <key>EnvironmentVariables</key><dict><key>PATH</key><string>%s</string></dict>
  <key>RunAtLoad</key><true/>
  <key>KeepAlive</key><true/>
  <key>AbandonProcessGroup</key><true/>
  <key>ExitTimeOut</key><integer>200</integer>
</dict>
</plist>
`, name, words.String(), escape(s.Path))
}
