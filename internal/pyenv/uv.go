package pyenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// uvTool runs uv with a cache of our own, so that a damaged environment is rebuilt without a download and the
// environments share their files.
type uvTool struct{ path, cache string }

// oldestUV is the oldest release whose options are used here.
var oldestUV = [2]int{0, 5}

// installer returns uv: that of PATH, else a private one, which pip installs from a lock with hashes.
func (b *builder) installer(ctx context.Context, python Python) (uvTool, error) {
	tool := uvTool{cache: filepath.Join(b.CacheDir, "packages")}
	if named := os.Getenv("UV_CACHE_DIR"); named != "" {
		tool.cache = named // uv's own setting, made by somebody who shares a cache between tools
	}
	path, err := b.namedUV(ctx)
	if err == nil && path == "" {
		path, err = b.privateUV(ctx, python)
	}
	tool.path = path
	return tool, err
}

// namedUV returns the uv that was named, or that of PATH; empty if none was named and PATH has none that is fit.
func (b *builder) namedUV(ctx context.Context) (string, error) {
	name := b.UV
	if name == "" {
		name = "uv"
	}
	if path, err := exec.LookPath(name); err == nil && recentUV(ctx, path) {
		return path, nil
	}
	if b.UV == "" {
		return "", nil
	}
	return "", contract.Errorf(contract.CodePrerequisite, "the uv named by VIBEFLOW_UV, %s, cannot be used", b.UV).
		Mend("name a uv of version %d.%d or later, or unset it", oldestUV[0], oldestUV[1])
}

var uvVersion = regexp.MustCompile(`^uv (\d+)\.(\d+)\.`)

func recentUV(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return false
	}
	found := uvVersion.FindSubmatch(out)
	if found == nil {
		return false
	}
	var major, minor int
	_, _ = fmt.Sscan(string(found[1]), &major) // digits, by the pattern
	_, _ = fmt.Sscan(string(found[2]), &minor)
	return major > oldestUV[0] || major == oldestUV[0] && minor >= oldestUV[1]
}

// privateUV makes a virtual environment that holds nothing but uv.
func (b *builder) privateUV(ctx context.Context, python Python) (string, error) {
	lock, err := fs.ReadFile(b.Files, "installer.lock")
	if err != nil {
		return "", fmt.Errorf("read the installer's lock: %w", err)
	}
	sum := sha256.Sum256(lock)
	root := filepath.Join(b.CacheDir, "installer-"+hex.EncodeToString(sum[:])[:12]+"-py"+python.Minor)
	uv := filepath.Join(root, "bin", "uv")
	if recentUV(ctx, uv) {
		return uv, nil
	}
	b.report.say(PhaseInstaller, "uv is not installed: getting a private one with pip")
	if err := needVenv(ctx, python); err != nil {
		return "", err
	}
	aside, err := os.MkdirTemp(b.CacheDir, "installer"+buildingMark)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(aside) }()
	if err := b.pipInstall(ctx, python, lock, aside); err != nil {
		return "", err
	}
	if err := replace(aside, root, func() bool { return recentUV(ctx, uv) }); err != nil {
		return "", err
	}
	return uv, nil
}

func (b *builder) pipInstall(ctx context.Context, python Python, lock []byte, root string) error {
	lockPath := filepath.Join(root, "installer.lock")
	if err := os.WriteFile(lockPath, lock, 0o600); err != nil {
		return err
	}
	if err := runTool(ctx, b.report, cleanEnv(), python.Path, "-I", "-m", "venv", root); err != nil {
		return err
	}
	return runTool(ctx, b.report, cleanEnv(), interpreter(root), "-I", "-m", "pip", "install", "--disable-pip-version-check",
		"--no-input", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", lockPath)
}

func (u uvTool) run(ctx context.Context, report *reporter, args ...string) error {
	env := cleanEnv("UV_CACHE_DIR="+u.cache, "UV_NO_PROGRESS=1", "NO_COLOR=1")
	if os.Getenv("UV_HTTP_TIMEOUT") == "" {
		env = append(env, "UV_HTTP_TIMEOUT=120") // seconds without a byte, on a slow line with large files
	}
	if mirror := os.Getenv("PIP_INDEX_URL"); mirror != "" && os.Getenv("UV_INDEX_URL") == "" && os.Getenv("UV_DEFAULT_INDEX") == "" {
		env = append(env, "UV_DEFAULT_INDEX="+mirror) // a site that set a mirror up for pip means uv too
	}
	return runTool(ctx, report, env, u.path, args...)
}

// runTool runs a program, reports each line of its output, and turns its failure into an error that says what to do.
// A cancelled context stops it with SIGTERM first, so that it can clean up.
func runTool(ctx context.Context, report *reporter, env []string, path string, args ...string) error {
	output := &lineWriter{report: report}
	command := exec.CommandContext(ctx, path, args...)
	command.Env = env
	command.Dir = filepath.Dir(filepath.Dir(path)) // away from projects, whose settings uv would obey
	command.Stdout, command.Stderr = output, output
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 5 * time.Second
	err := command.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return explain(filepath.Base(path), err, output.tail())
	}
	return nil
}

var causes = []struct {
	pattern *regexp.Regexp
	code    contract.Code
	message string
	remedy  string
}{
	{
		regexp.MustCompile(`(?i)no space left|disk quota exceeded|os error 28`), contract.CodePrerequisite,
		"the disk became full while the runner's environment was built", "free some space and start again: what was fetched is kept",
	},
	{
		regexp.MustCompile(`(?i)hash mismatch|hashes.*do not match|THESE PACKAGES DO NOT MATCH`), contract.CodeEnvironment,
		"a package is not the one that VibeFlow's lock names", "check the package index or mirror that this machine is set to use",
	},
	{
		regexp.MustCompile(`(?i)failed to fetch|error sending request|dns error|connection (refused|reset|timed out)|timed out|temporary failure|max retries|tls|certificate`),
		contract.CodeUnavailable, "the Python package index could not be reached",
		"check the network (HTTPS_PROXY, UV_INDEX_URL and PIP_INDEX_URL are respected) and start again: what was fetched is kept",
	},
}

// explain names the cause of a failed tool by its output.
func explain(tool string, err error, output string) error {
	for _, cause := range causes {
		if cause.pattern.MatchString(output) {
			failure := contract.Errorf(cause.code, "%s", cause.message).Mend("%s", cause.remedy)
			failure.Detail = output
			return failure
		}
	}
	failure := contract.Errorf(contract.CodeEnvironment, "the runner's environment could not be built: %s: %w: %s", tool, err, lastLine(output)).
		Mend("run `vibeflow doctor`; the full output is in the log")
	failure.Detail = output
	return failure
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// boring matches what uv says that nobody who waits wants to read.
var boring = regexp.MustCompile(`^([+~-] |Activate with:|Creating virtual environment|Using (Python|CPython))`)

// keepOutput is how much of a tool's output is kept for an error's detail.
const keepOutput = 8 << 10

// lineWriter reports complete lines and keeps the end of all. os/exec calls it from one goroutine, as stdout and
// stderr are the same writer.
type lineWriter struct {
	report  *reporter
	pending []byte
	all     []byte
}

// Write implements io.Writer.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.all = append(w.all, p...)
	if len(w.all) > 2*keepOutput {
		w.all = bytes.Clone(w.all[len(w.all)-keepOutput:])
	}
	w.pending = append(w.pending, p...)
	for {
		line, rest, found := bytes.Cut(w.pending, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.pending = rest
		if text := strings.TrimSpace(string(line)); text != "" && !boring.MatchString(text) {
			w.report.say(phaseOf(text, w.report.phase()), text)
		}
	}
}

func (w *lineWriter) tail() string { return string(w.all[max(0, len(w.all)-keepOutput):]) }

// phaseOf reads uv's own words; other lines belong to the phase that is under way.
func phaseOf(line string, now Phase) Phase {
	switch {
	case strings.HasPrefix(line, "Prepared "), strings.HasPrefix(line, "Installed "):
		return PhaseInstall
	case strings.HasPrefix(line, "Downloading "), strings.HasPrefix(line, "Downloaded "), strings.HasPrefix(line, "Building "):
		return PhaseDownload
	}
	return now
}

// needVenv refuses a Python that cannot make a virtual environment with pip: Debian packs that apart.
func needVenv(ctx context.Context, python Python) error {
	command := exec.CommandContext(ctx, python.Path, "-I", "-c", "import venv, ensurepip")
	command.Env = cleanEnv()
	if err := command.Run(); err != nil {
		return contract.Errorf(contract.CodePrerequisite,
			"%s cannot make virtual environments (it has no venv module), and uv is not installed", python.Path).
			Mend("%s; or install uv", installVenv(python.Minor))
	}
	return nil
}

// installVenv says how to get the venv module for one version of Python.
func installVenv(minor string) string {
	return "install it (Debian and Ubuntu: sudo apt install python" + minor + "-venv)"
}

// FindInstaller says how packages would be installed with a Python, or (CodePrerequisite) what is missing for that.
func FindInstaller(ctx context.Context, options Options, python Python) (how string, err error) {
	b := builder{Options: options}
	if path, err := b.namedUV(ctx); err != nil || path != "" {
		return path, err
	}
	if err := needVenv(ctx, python); err != nil {
		return "", err
	}
	return "a private uv, which pip gets", nil
}
