package embedded

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/server/schema/sqlite"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

var quiet = slog.New(slog.DiscardHandler)

func newDataDir(t *testing.T) *datadir.Dir {
	t.Helper()
	dir, err := datadir.Open(filepath.Join(t.TempDir(), "50% of #1?")) // what would mean something in a URI
	require.NoError(t, err)
	return dir
}

// A database that an older VibeFlow made has a namespace already, and Temporal leaves that as it is.
func TestAttributesAreAddedToAnOlderNamespace(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	require.NoError(t, createDatabase(dir.TemporalDir(), dir.TemporalDB()))
	older, err := sqlite.NewNamespaceConfig(clusterName, contract.Namespace, false,
		map[string]enumspb.IndexedValueType{contract.SearchAttributeProject: enumspb.INDEXED_VALUE_TYPE_KEYWORD})
	require.NoError(t, err)
	require.NoError(t, sqlite.CreateNamespaces(sqlConfig(dir.TemporalDB()), older))

	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan datadir.Endpoints, 1), make(chan error, 1)
	server := New(Options{DataDir: dir, Token: "secret", AnyPorts: true, Logger: slog.New(slog.DiscardHandler),
		Ready: func(at datadir.Endpoints) { ready <- at }})
	go func() { ended <- server.Run(ctx) }()
	defer func() { stop(); require.NoError(t, <-ended) }()
	at := <-ready
	c, err := temporalclient.Dial(t.Context(), temporalclient.Options{
		Address: at.TemporalAddress, Token: "secret", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer c.Close()
	got, err := c.OperatorService().ListSearchAttributes(t.Context(),
		&operatorservice.ListSearchAttributesRequest{Namespace: contract.Namespace})
	require.NoError(t, err)
	require.Equal(t, searchAttributes, got.GetCustomAttributes())
}

// A kill while the first database is made leaves a file aside, and no half database under the real name.
func TestAHalfMadeDatabaseIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	require.NoError(t, os.WriteFile(dir.TemporalDB()+".new", []byte("half"), 0o600))
	require.NoError(t, os.WriteFile(dir.TemporalDB()+".new-journal", []byte("half"), 0o600))
	require.NoError(t, prepareDatabase(dir.TemporalDir(), quiet))
	require.NoError(t, prepareDatabase(dir.TemporalDir(), quiet), "a second start finds it")
	info, err := os.Stat(dir.TemporalDB())
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoFileExists(t, dir.TemporalDB()+".new")
}

// Ports that others know stay the same from start to start; a taken one is left for the next best.
func TestPortsAreRemembered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := choosePorts(dir, Options{AnyPorts: true})
	require.NoError(t, err)
	second, err := choosePorts(dir, Options{AnyPorts: true})
	require.NoError(t, err)
	require.Equal(t, first.Frontend, second.Frontend)
	require.Equal(t, first.UI, second.UI)
	for _, port := range []int{first.Frontend, first.UI} {
		require.GreaterOrEqual(t, port, lowestPort)
		require.LessOrEqual(t, port, highestPort)
	}

	var taken listeners
	defer taken.close()
	require.NoError(t, taken.listen(first.Frontend))
	third, err := choosePorts(dir, Options{AnyPorts: true})
	require.NoError(t, err)
	require.NotEqual(t, first.Frontend, third.Frontend)
	require.Equal(t, first.UI, third.UI)
	distinct := map[int]bool{}
	for _, service := range services {
		distinct[third.of(service)] = true
	}
	require.Len(t, distinct, len(services))

	require.NoError(t, os.WriteFile(filepath.Join(dir, portsFile), []byte("damaged"), 0o600))
	_, err = choosePorts(dir, Options{AnyPorts: true})
	require.NoError(t, err)
}
