//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// program notes when it starts and when it is stopped.
const program = `#!/bin/sh
echo "started VERSION" >> "$1"
trap 'echo "stopped VERSION" >> "$1"; exit' INT
while :; do sleep 0.05; done
`

type project struct {
	t        *testing.T
	checkout string
	log      string
	builds   string
	said     *output
	stop     chan os.Signal
	ended    chan error
	finish   func() // as Ctrl-C does
}

func start(t *testing.T) *project {
	t.Helper()
	p := &project{t: t, checkout: t.TempDir(), log: filepath.Join(t.TempDir(), "log"), builds: filepath.Join(t.TempDir(), "builds"), said: &output{}, stop: make(chan os.Signal, 1), ended: make(chan error, 1)}
	require.NoError(t, exec.Command("git", "-C", p.checkout, "init", "-q").Run())
	p.write(".gitignore", "/bin/\n")
	p.write("program.sh", p.version("1"))
	p.write("build.sh", `echo >> "$1"; cd "$(dirname "$0")" && mkdir -p bin && ! grep -q BROKEN program.sh && cp program.sh bin/new && chmod +x bin/new && mv bin/new bin/program`)
	l := &loop{build: []string{"sh", filepath.Join(p.checkout, "build.sh"), p.builds}, binary: filepath.Join(p.checkout, "bin", "program"), args: []string{p.log}, say: p.said}
	go func() { p.ended <- run(l, p.checkout, p.stop) }()
	p.finish = sync.OnceFunc(func() {
		p.stop <- os.Interrupt
		require.NoError(t, <-p.ended)
	})
	t.Cleanup(p.finish)
	p.until("started 1")
	return p
}

func (p *project) version(v string) string { return strings.ReplaceAll(program, "VERSION", v) }

func (p *project) write(name, content string) {
	p.t.Helper()
	path := filepath.Join(p.checkout, name)
	require.NoError(p.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(p.t, os.WriteFile(path, []byte(content), 0o600))
}

// ran is what the programs noted.
func (p *project) ran() []string {
	content, _ := os.ReadFile(p.log)
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func (p *project) until(last string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { ran := p.ran(); return ran[len(ran)-1] == last }, 20*time.Second, 10*time.Millisecond, "%s\n%v", p.said, p.ran())
}

func (p *project) hears(words string) {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return strings.Contains(p.said.String(), words) }, 20*time.Second, 10*time.Millisecond, "%s", p.said)
}

func TestAChangeStopsTheOldProgramGentlyAndStartsTheNewOne(t *testing.T) {
	p := start(t)
	p.write("program.sh", p.version("2"))
	p.until("started 2")
	require.Equal(t, []string{"started 1", "stopped 1", "started 2"}, p.ran())
}

func TestABuildThatFailsLeavesRunningWhatRuns(t *testing.T) {
	p := start(t)
	p.write("program.sh", "BROKEN")
	p.hears("the build failed")
	p.write("program.sh", p.version("2"))
	p.until("started 2")
	require.Equal(t, []string{"started 1", "stopped 1", "started 2"}, p.ran())
}

// TestWhatTheBinaryDoesNotHaveRestartsNothing: a change of documents, files that git ignores.
func TestWhatTheBinaryDoesNotHaveRestartsNothing(t *testing.T) {
	p := start(t)
	built := func(n int64) {
		t.Helper()
		require.Eventually(t, func() bool { info, err := os.Stat(p.builds); return err == nil && info.Size() == n }, 20*time.Second, 10*time.Millisecond)
	}
	built(1)
	p.write("docs/new/page.md", "a page in a folder that was not there")
	built(2)
	p.write("bin/made", "by a build, say")
	p.write("docs/new/page.md", "changed")
	built(3)
	require.Equal(t, []string{"started 1"}, p.ran())
	p.write("program.sh", p.version("2"))
	p.until("started 2")
	built(4)
	require.Equal(t, []string{"started 1", "stopped 1", "started 2"}, p.ran())
}

// TestCtrlCInTheMiddleOfARestartEndsIt and does not start the new program.
func TestCtrlCInTheMiddleOfARestartEndsIt(t *testing.T) {
	p := start(t)
	p.write("program.sh", `#!/bin/sh
echo "started 2" >> "$1"
trap 'echo "stopping 2" >> "$1"; trap "exit" INT' INT
while :; do sleep 0.05; done
`)
	p.until("started 2")
	p.write("program.sh", p.version("3"))
	p.until("stopping 2")
	p.finish()
	require.NotContains(t, p.ran(), "started 3")
}

func TestAProgramThatEndedIsStartedByTheNextChange(t *testing.T) {
	p := start(t)
	p.write("program.sh", "#!/bin/sh\necho ended 2 >> \"$1\"\n")
	p.until("ended 2")
	p.hears("the next change starts it again")
	p.write("README.md", "anything")
	require.Eventually(t, func() bool { return len(p.ran()) == 4 }, 20*time.Second, 10*time.Millisecond, "%s", p.said)
	require.Equal(t, []string{"started 1", "stopped 1", "ended 2", "ended 2"}, p.ran())
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
