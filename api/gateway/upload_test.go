package gateway

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/internal/artifact"
)

// nothing is an artifact.Index without objects.
type nothing struct{ artifact.Index }

// ID implements artifact.Index.
func (nothing) ID(context.Context) (string, error) { return "a database", nil }

// LiveObjects implements artifact.Index.
func (nothing) LiveObjects(context.Context) (map[string]bool, error) { return nil, nil }

// TestUploadsThatWereGivenUpGoWhileTheServerRuns, and not only at its next start; others stay.
func TestUploadsThatWereGivenUpGoWhileTheServerRuns(t *testing.T) {
	spool := t.TempDir()
	artifacts, err := artifact.Open(t.Context(), artifact.Options{BucketURL: "mem://", MasterKey: make([]byte, 32), Index: nothing{},
		SpoolDir: spool, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, artifacts.Close()) }()
	u, err := newUploads(artifacts, 1<<20, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	left := func() (names []string) {
		entries, err := os.ReadDir(spool)
		require.NoError(t, err)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	for _, run := range []string{"job_1", "job_12", "job_2"} {
		_, err := u.part(run, "aa").Write(0, strings.NewReader("x"))
		require.NoError(t, err)
	}
	old := time.Now().Add(-partLife)
	require.NoError(t, os.Chtimes(filepath.Join(spool, "job_2-aa.sealed"), old, old))
	require.NoError(t, u.sweep(time.Now()))
	require.Len(t, left(), 3, "it has just been swept")
	require.NoError(t, u.sweep(time.Now().Add(sweepEvery)))
	require.Equal(t, []string{"job_1-aa.sealed", "job_12-aa.sealed"}, left())
	u.forget("job_1")
	require.Equal(t, []string{"job_12-aa.sealed"}, left(), "of this run alone")
}
