package datadir

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	envHold = "VIBEFLOW_TEST_HOLD"
	envName = "VIBEFLOW_TEST_LOCK"
)

// TestMain lets the test binary play a second process that takes a lock and says so.
func TestMain(m *testing.M) {
	if root := os.Getenv(envHold); root != "" {
		holdLock(root, os.Getenv(envName))
		return
	}
	os.Exit(m.Run())
}

func holdLock(root, name string) {
	dir, err := Open(root)
	if err == nil {
		_, err = dir.Lock(name)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
}

func open(t *testing.T) *Dir {
	t.Helper()
	dir, err := Open(filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	return dir
}

func TestOpenMakesAPrivateLayout(t *testing.T) {
	t.Parallel()
	dir := open(t)
	require.NoDirExists(t, dir.Blobs(), "its disk may be away: an empty folder would be in its place")
	require.NoError(t, os.Mkdir(dir.Blobs(), 0o750))
	_, err := Open(dir.Root())
	require.NoError(t, err, "a second open finds the folder as it is")
	for _, name := range append([]string{"."}, folders...) {
		info, err := os.Stat(filepath.Join(dir.Root(), name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o700), info.Mode().Perm(), name)
	}
}

func TestOpenTakesPermissionsOfOthersAway(t *testing.T) {
	t.Parallel()
	dir := open(t)
	require.NoError(t, os.Chmod(dir.Spool(), 0o755))
	_, err := Open(dir.Root())
	require.NoError(t, err)
	info, err := os.Stat(dir.Spool())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestOpenRefusesWhatIsNotOurs(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, root string){
		"a folder of other files": func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, "thesis.tex"), nil, 0o600))
		},
		"a newer layout": func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, marker), []byte(`{"layout":99}`), 0o600))
		},
		"a damaged marker": func(t *testing.T, root string) {
			require.NoError(t, os.WriteFile(filepath.Join(root, marker), []byte(`{`), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			prepare(t, root)
			before, err := os.ReadDir(root)
			require.NoError(t, err)
			_, err = Open(root)
			require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
			after, err := os.ReadDir(root)
			require.NoError(t, err)
			require.Len(t, after, len(before), "a refused folder is left as it was")
		})
	}
}

func TestFindMakesNothing(t *testing.T) {
	t.Parallel()
	empty, missing := t.TempDir(), filepath.Join(t.TempDir(), "data")
	for _, path := range []string{empty, missing} {
		_, err := Find(path)
		require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "vibeflow up")
	}
	require.NoDirExists(t, missing)
	require.NoError(t, os.WriteFile(filepath.Join(empty, "thesis.tex"), nil, 0o600))
	_, err := Find(empty)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.ErrorContains(t, err, "thesis.tex")

	made := open(t)
	found, err := Find(made.Root())
	require.NoError(t, err)
	require.Equal(t, made.Root(), found.Root())
	_, err = found.Existing(SecretCLIToken)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "made, and never started")
	require.NoFileExists(t, filepath.Join(made.Root(), "secrets", "cli.token"))
	token, err := made.Token(SecretCLIToken)
	require.NoError(t, err)
	existing, err := found.Existing(SecretCLIToken)
	require.NoError(t, err)
	require.Equal(t, token, existing)
}

func TestConcurrentFirstOpens(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "data")
	var all sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		all.Go(func() { _, errs[i] = Open(root) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func TestSecretsAreMadeOnceAndPrivate(t *testing.T) {
	t.Parallel()
	dir := open(t)
	var all sync.WaitGroup
	tokens := make([]string, 16)
	for i := range tokens {
		all.Go(func() { tokens[i], _ = dir.Token(SecretCLIToken) })
	}
	all.Wait()
	for _, token := range tokens {
		require.Equal(t, tokens[0], token, "racing processes see one secret")
	}
	raw, err := base64.RawURLEncoding.DecodeString(tokens[0])
	require.NoError(t, err)
	require.Len(t, raw, 32)
	info, err := os.Stat(filepath.Join(dir.Root(), "secrets", "cli.token"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(filepath.Join(dir.Root(), "secrets"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary files stay behind")

	key, err := dir.Key(SecretMasterKey)
	require.NoError(t, err)
	require.Len(t, key, 32)
	require.NotEqual(t, raw, key)
}

func TestAMasterKeyThatIsGoneIsMissed(t *testing.T) {
	t.Parallel()
	dir := open(t)
	key, err := dir.MasterKey()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir.AppDB(), nil, 0o600))
	again, err := dir.MasterKey()
	require.NoError(t, err)
	require.Equal(t, key, again)

	path := filepath.Join(dir.Root(), "secrets", "master.key")
	require.NoError(t, os.Rename(path, path+".aside"))
	_, err = dir.MasterKey()
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	require.ErrorContains(t, err, "put it back from a backup")
	require.NoFileExists(t, path, "no new key takes its place")
	require.NoError(t, os.Rename(path+".aside", path))
	again, err = dir.MasterKey()
	require.NoError(t, err)
	require.Equal(t, key, again)
}

func TestSecretsThatAreUnsafeAreRefused(t *testing.T) {
	t.Parallel()
	dir := open(t)
	path := filepath.Join(dir.Root(), "secrets", "jwt.key")

	_, err := dir.Token(SecretJWTKey)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = dir.Token(SecretJWTKey)
	require.ErrorContains(t, err, "chmod 600")

	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	_, err = dir.Token(SecretJWTKey)
	require.Equal(t, contract.CodePrerequisite, contract.CodeOf(err))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "short", string(content), "a damaged secret is not overwritten")

	_, err = dir.Token("../app.db")
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
}

func TestLockHasOneOwnerAndEndsWithIt(t *testing.T) {
	t.Parallel()
	dir := open(t)
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), envHold+"="+dir.Root(), envName+"=server")
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	_, err = other.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	line := make([]byte, 5)
	_, err = out.Read(line)
	require.NoError(t, err)
	require.Equal(t, "held\n", string(line))

	_, err = dir.Lock("server")
	require.Equal(t, contract.CodeInUse, contract.CodeOf(err))
	require.ErrorContains(t, err, fmt.Sprintf("process %d", other.Process.Pid))
	require.ErrorContains(t, err, "--data")
	owners, err := dir.Owners()
	require.NoError(t, err)
	require.Equal(t, map[string]int{"server": other.Process.Pid}, owners)

	require.NoError(t, other.Process.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	lock, err := dir.LockWait(ctx, "server")
	require.NoError(t, err, "a killed owner's lock is free")
	pid, held := dir.Owner("server")
	require.True(t, held)
	require.Equal(t, os.Getpid(), pid)
	lock.Release()
	_, held = dir.Owner("server")
	require.False(t, held)
}

func TestEndpointsAreJoined(t *testing.T) {
	t.Parallel()
	dir := open(t)
	_, err := dir.Endpoints()
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
	require.ErrorContains(t, err, "vibeflow up")

	require.NoError(t, dir.Publish(ProcessTemporal, Endpoints{TemporalAddress: "127.0.0.1:7233", TemporalUI: "http://127.0.0.1:8233/temporal"}))
	require.NoError(t, dir.Publish(ProcessServer, Endpoints{Server: "http://127.0.0.1:8400"}))
	all, err := dir.Endpoints()
	require.NoError(t, err)
	require.Equal(t, Endpoints{Server: "http://127.0.0.1:8400", TemporalAddress: "127.0.0.1:7233", TemporalUI: "http://127.0.0.1:8233/temporal"}, all)
	_, pid, ok := dir.Published(ProcessServer)
	require.True(t, ok)
	require.Equal(t, os.Getpid(), pid)

	require.NoError(t, dir.Unpublish(ProcessServer))
	require.NoError(t, dir.Unpublish(ProcessServer), "withdrawing nothing is no error")
	all, err = dir.Endpoints()
	require.NoError(t, err)
	require.Empty(t, all.Server)
}

func TestAwaitPublishedTrustsTheLivingOnly(t *testing.T) {
	t.Parallel()
	dir := open(t)
	at := Endpoints{TemporalAddress: "127.0.0.1:7233"}
	require.NoError(t, dir.Publish(ProcessTemporal, at))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := dir.AwaitPublished(ctx, ProcessTemporal)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "nobody holds the lock: a killed process left the file")

	lock, err := dir.Lock(string(ProcessTemporal))
	require.NoError(t, err)
	defer lock.Release()
	got, err := dir.AwaitPublished(t.Context(), ProcessTemporal)
	require.NoError(t, err)
	require.Equal(t, at, got)
}

func TestWorkerScratchStaysInside(t *testing.T) {
	t.Parallel()
	dir := open(t)
	scratch, err := dir.WorkerScratch("0")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(scratch, dir.Root()))
	for _, bad := range []string{"", "..", "../x", "a/b", ".hidden", strings.Repeat("x", 65)} {
		_, err := dir.WorkerScratch(bad)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), "%q", bad)
	}
}

func TestDefault(t *testing.T) {
	t.Setenv(EnvRoot, "/srv/vibeflow")
	root, err := Default()
	require.NoError(t, err)
	require.Equal(t, "/srv/vibeflow", root)
	t.Setenv(EnvRoot, "")
	t.Setenv("HOME", "/home/someone")
	root, err = Default()
	require.NoError(t, err)
	require.Equal(t, "/home/someone/.vibeflow", root)
}
