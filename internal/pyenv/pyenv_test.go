package pyenv

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	peft "github.com/vibeflow/vibeflow/workers/peft"
)

// realUV returns uv as Ensure would get it on this machine: from PATH, else the private one in the user's cache, which
// the first build of the runner's environment leaves there.
var realUV = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b, err := newBuilder(ctx, Options{Files: peft.Files, Kind: KindCPU}, nil)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(b.CacheDir, 0o700); err != nil {
		return "", err
	}
	python, err := FindPython(ctx, "")
	if err != nil {
		return "", err
	}
	uv, err := b.installer(ctx, python)
	return uv.path, err
})

// tinyRunner is what peft.Files is, with one small package in the lock that lies on this disk, so that building the
// environment takes a second and no network.
func tinyRunner(t *testing.T) Options {
	t.Helper()
	uv, err := realUV()
	require.NoError(t, err)
	wheel, hash := makeWheel(t, "tinydep", "1.0")
	lock := fmt.Sprintf("tinydep @ file://%s --hash=sha256:%s\n", (&url.URL{Path: wheel}).EscapedPath(), hash)
	return Options{
		Files: fstest.MapFS{
			"cpu.lock":                  {Data: []byte(lock)},
			"vibeflow_peft/__init__.py": {Data: []byte("answer = 42\n")},
			"vibeflow_peft/__main__.py": {Data: []byte("import tinydep; print(tinydep.name)\n")},
		},
		CacheDir: t.TempDir(), Kind: KindCPU, UV: uv, NeedBytes: 1,
	}
}

// makeWheel writes a package of one module, which knows its name, and returns its path and sha256.
func makeWheel(t *testing.T, name, version string) (path, hash string) {
	t.Helper()
	module := fmt.Sprintf("name = %q\n", name)
	digest := sha256.Sum256([]byte(module))
	info := name + "-" + version + ".dist-info/"
	files := [][2]string{
		{name + "/__init__.py", module},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", fmt.Sprintf("%s/__init__.py,sha256=%s,%d\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n",
			name, base64.RawURLEncoding.EncodeToString(digest[:]), len(module), info, info, info)},
	}
	var content bytes.Buffer
	archive := zip.NewWriter(&content)
	for _, file := range files {
		entry, err := archive.Create(file[0])
		require.NoError(t, err)
		_, err = entry.Write([]byte(file[1]))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	path = filepath.Join(t.TempDir(), name+"-"+version+"-py3-none-any.whl")
	require.NoError(t, os.WriteFile(path, content.Bytes(), 0o600))
	sum := sha256.Sum256(content.Bytes())
	return path, hex.EncodeToString(sum[:])
}

// runRunner starts the runner as the worker does.
func runRunner(t *testing.T, env *Env) string {
	t.Helper()
	command := exec.Command(env.Python, "-m", "vibeflow_peft")
	command.Env = append(os.Environ(), "PYTHONPATH="+env.SrcDir)
	out, err := command.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

func TestEnsureBuildsOnceAndTheRunnerRuns(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	var phases []Phase
	env, err := Ensure(t.Context(), options, func(p Progress) { phases = append(phases, p.Phase) })
	require.NoError(t, err)
	require.True(t, env.Built)
	require.Equal(t, "tinydep", runRunner(t, env))
	require.Contains(t, phases, PhaseInstall, "uv's own words are read")
	require.Equal(t, PhaseReady, phases[len(phases)-1])
	require.NoError(t, VerifyFiles(t.Context(), env.Root))

	began := time.Now()
	again, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	require.False(t, again.Built)
	require.Equal(t, env.Python, again.Python)
	require.Less(t, time.Since(began), 3*time.Second)

	listed, err := List(options.CacheDir)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Equal(t, env.Root, listed[0].Root)
	requireNoLeftovers(t, options.CacheDir)
}

func requireNoLeftovers(t *testing.T, cacheDir string) {
	t.Helper()
	leftovers, err := filepath.Glob(filepath.Join(cacheDir, "*"+buildingMark+"*"))
	require.NoError(t, err)
	require.Empty(t, leftovers)
}

func TestANewSourceRebuildsNothing(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	first, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	options.Files.(fstest.MapFS)["vibeflow_peft/__main__.py"] = &fstest.MapFile{Data: []byte("print('newer')\n")}
	second, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	require.False(t, second.Built)
	require.Equal(t, first.Root, second.Root)
	require.NotEqual(t, first.SrcDir, second.SrcDir, "a paused job keeps the source it was started with")
	require.Equal(t, "newer", runRunner(t, second))
	require.Equal(t, "tinydep", runRunner(t, first))
}

func TestDamageIsNoticedAndMended(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	env, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	packages, err := sitePackages(env.Root)
	require.NoError(t, err)
	for name, damage := range map[string]func() error{
		"no marker":       func() error { return os.Remove(filepath.Join(env.Root, markerFile)) },
		"no package":      func() error { return os.RemoveAll(filepath.Join(packages, "tinydep")) },
		"no interpreter":  func() error { return os.Remove(env.Python) },
		"broken python":   func() error { _ = os.Remove(env.Python); return os.Symlink("/bin/false", env.Python) },
		"no environment":  func() error { return os.RemoveAll(env.Root) },
		"an empty folder": func() error { _ = os.RemoveAll(env.Root); return os.Mkdir(env.Root, 0o700) },
	} {
		require.NoError(t, damage(), name)
		none, broken, err := Inspect(t.Context(), options)
		require.NoError(t, err, name)
		require.Nil(t, none, name)
		require.Equal(t, name == "no environment", broken == "", name)
		var said []string
		mended, err := Ensure(t.Context(), options, func(p Progress) { said = append(said, p.Line) })
		require.NoError(t, err, name)
		require.True(t, mended.Built, name)
		if name != "no environment" {
			require.Contains(t, strings.Join(said, "\n"), "it is built again", name)
		}
		require.Equal(t, "tinydep", runRunner(t, mended), name)
	}

	require.NoError(t, os.WriteFile(filepath.Join(packages, "tinydep", "__init__.py"), nil, 0o600))
	require.ErrorContains(t, VerifyFiles(t.Context(), env.Root), "tinydep/__init__.py has 0 bytes")
	// The file is a hard link into the package cache, so that is damaged too.
	options.Rebuild = true
	mended, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	require.True(t, mended.Built)
	require.NoError(t, VerifyFiles(t.Context(), mended.Root))
}

func TestSourceThatWasChangedIsReplaced(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	src, err := ensureSource(options.Files, options.CacheDir)
	require.NoError(t, err)
	changed := filepath.Join(src, "vibeflow_peft", "__init__.py")
	require.NoError(t, os.WriteFile(changed, []byte("answer = 41\n"), 0o600))
	again, err := ensureSource(options.Files, options.CacheDir)
	require.NoError(t, err)
	require.Equal(t, src, again)
	content, err := os.ReadFile(changed)
	require.NoError(t, err)
	require.Equal(t, "answer = 42\n", string(content))
	requireNoLeftovers(t, options.CacheDir)
}

func TestProcessesThatRaceBuildOnce(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	var all sync.WaitGroup
	built, errs := make([]bool, 4), make([]error, 4)
	for i := range built {
		all.Go(func() {
			env, err := Ensure(t.Context(), options, nil)
			if errs[i] = err; err == nil {
				built[i] = env.Built
			}
		})
	}
	all.Wait()
	count := 0
	for i := range built {
		require.NoError(t, errs[i])
		if built[i] {
			count++
		}
	}
	require.Equal(t, 1, count)
}

func TestAKilledBuildLeavesNothing(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Ensure(ctx, options, func(p Progress) {
		if p.Phase == PhaseDownload {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	requireNoLeftovers(t, options.CacheDir)

	// A kill -9 gets no chance to clean up; the next build does.
	b, err := newBuilder(t.Context(), options, nil)
	require.NoError(t, err)
	killed := filepath.Join(options.CacheDir, "runner-"+b.hash+"-py3.11"+buildingMark+"1")
	require.NoError(t, os.MkdirAll(killed, 0o700))
	env, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	require.True(t, env.Built)
	requireNoLeftovers(t, options.CacheDir)
}

func TestRefusalsNameTheRemedy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Options)
		code   contract.Code
		says   string
	}{
		"no disk":      {func(o *Options) { o.NeedBytes = 1 << 60 }, contract.CodePrerequisite, "free some"},
		"no Python":    {func(o *Options) { o.Python = "/nonexistent/python3" }, contract.CodePrerequisite, "VIBEFLOW_PYTHON"},
		"a wrong tool": {func(o *Options) { o.Python = "true" }, contract.CodePrerequisite, "3.11"},
		"no uv":        {func(o *Options) { o.UV = "/nonexistent/uv" }, contract.CodePrerequisite, "VIBEFLOW_UV"},
		"another package than the lock's": {func(o *Options) {
			lock := o.Files.(fstest.MapFS)["cpu.lock"]
			at := bytes.LastIndexByte(lock.Data, ':') + 1
			lock.Data = append(lock.Data[:at:at], []byte(strings.Repeat("0", 64)+"\n")...)
		}, contract.CodeEnvironment, "mirror"},
		"no lock": {func(o *Options) { delete(o.Files.(fstest.MapFS), "cpu.lock") }, contract.CodeInternal, "lock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := tinyRunner(t)
			test.change(&options)
			_, err := Ensure(t.Context(), options, nil)
			require.Equal(t, test.code, contract.CodeOf(err), "%v", err)
			require.ErrorContains(t, err, test.says)
			listed, err := List(options.CacheDir)
			require.NoError(t, err)
			require.Empty(t, listed)
		})
	}
}

func TestExplainNamesTheCause(t *testing.T) {
	t.Parallel()
	failed := fmt.Errorf("exit status 1")
	for output, code := range map[string]contract.Code{
		"error: Failed to fetch: `x`\n  Caused by: dns error":              contract.CodeUnavailable,
		"ERROR: Could not install: [Errno 28] No space left on device":     contract.CodePrerequisite,
		"error: Hash mismatch for `torch==2.15.0`":                         contract.CodeEnvironment,
		"  × Failed to build `rouge-score==0.1.2`\n  something unforeseen": contract.CodeEnvironment,
	} {
		err := explain("uv", failed, output)
		require.Equal(t, code, contract.CodeOf(err), output)
		var typed *contract.Error
		require.ErrorAs(t, err, &typed)
		require.NotEmpty(t, typed.Remedy)
		require.Equal(t, output, typed.Detail)
	}
}

func TestWithoutTorchSplitsTheRealLock(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"cpu.lock", "cuda.lock"} {
		lock, err := peft.Files.ReadFile(name)
		require.NoError(t, err)
		rest, torch := withoutTorch(lock)
		require.Regexp(t, `^torch==\d+\.\d+\.\d+$`, torch)
		require.NotContains(t, string(rest), "\nnvidia-")
		require.NotContains(t, string(rest), "\ntorch==")
		require.NotContains(t, string(rest), "\ntriton==")
		require.Contains(t, string(rest), "\ntransformers==")
		for line := range strings.Lines(string(rest)) {
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "#") {
				continue
			}
			require.True(t, strings.HasSuffix(line, "\\\n"), "%q has lost its hashes", line)
		}
	}
	require.NotEqual(t, lockHash([]byte("x"), ""), lockHash([]byte("x"), "https://example.org/cpu"), "another build of PyTorch is another environment")
}

func TestAnotherBuildOfTorchComesFromItsIndex(t *testing.T) {
	t.Parallel()
	options := tinyRunner(t)
	lock := options.Files.(fstest.MapFS)["cpu.lock"]
	lock.Data = append(lock.Data, []byte("torch==9.8.7 ; sys_platform != 'never' \\\n    --hash=sha256:"+strings.Repeat("0", 64)+
		"\nnvidia-cublas==1.0 \\\n    --hash=sha256:"+strings.Repeat("0", 64)+"\n")...)
	wheel, _ := makeWheel(t, "torch", "9.8.7+cpu")
	index := http.NewServeMux()
	index.HandleFunc("GET /simple/torch/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<a href="/files/%s">wheel</a>`, url.PathEscape(filepath.Base(wheel)))
	})
	index.Handle("GET /files/", http.StripPrefix("/files/", http.FileServer(http.Dir(filepath.Dir(wheel)))))
	server := httptest.NewServer(index)
	t.Cleanup(server.Close)
	options.TorchIndex = server.URL + "/simple"
	options.Files.(fstest.MapFS)["vibeflow_peft/__main__.py"] = &fstest.MapFile{Data: []byte("import tinydep, torch; print(tinydep.name, torch.name)\n")}

	env, err := Ensure(t.Context(), options, nil)
	require.NoError(t, err)
	require.Equal(t, "tinydep torch", runRunner(t, env))
}

func TestPrivateUVComesFromTheLockAndIsReused(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("downloads uv")
	}
	options := tinyRunner(t)
	options.Files, options.UV = peft.Files, ""
	b, err := newBuilder(t.Context(), options, nil)
	require.NoError(t, err)
	python, err := FindPython(t.Context(), "")
	require.NoError(t, err)
	uv, err := b.privateUV(t.Context(), python)
	require.NoError(t, err)
	out, err := exec.Command(uv, "--version").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "uv 0.13.9")
	again, err := b.privateUV(t.Context(), python)
	require.NoError(t, err)
	require.Equal(t, uv, again)
	requireNoLeftovers(t, options.CacheDir)
}
