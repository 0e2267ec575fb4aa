package gatewayclient_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/gatewayclient"
	"github.com/vibeflow/vibeflow/internal/gatewayclient/gatewaytest"
)

const job = "job_1"

var quiet = slog.New(slog.DiscardHandler)

func content(t *testing.T, size int) ([]byte, contract.FileInfo) {
	t.Helper()
	data := make([]byte, size)
	_, err := rand.Read(data)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return data, contract.FileInfo{Path: "file", SHA256: hex.EncodeToString(sum[:]), Size: int64(size)}
}

// cutSource serves data, but only limit bytes a call.
func cutSource(data []byte, limit int, offsets *[]int64) gatewayclient.BlobSource {
	return func(_ context.Context, _ string, offset int64) (io.ReadCloser, int64, error) {
		*offsets = append(*offsets, offset)
		end := min(int(offset)+limit, len(data))
		body := io.Reader(bytes.NewReader(data[offset:end]))
		if end < len(data) {
			body = io.MultiReader(body, failing{})
		}
		return io.NopCloser(body), offset, nil
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestFetchGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	data, file := content(t, 1000)
	path := filepath.Join(t.TempDir(), "folder", "file")
	var offsets []int64
	require.NoError(t, gatewayclient.Fetch(t.Context(), quiet, cutSource(data, 400, &offsets), file, path))
	require.Equal(t, []int64{0, 400, 800}, offsets)
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.NoFileExists(t, path+".part")

	require.NoError(t, gatewayclient.Fetch(t.Context(), quiet, nil, file, path), "what is there and right is not fetched")
}

// TestFetchBeginsAnewWhereMoreIsThere: a fetch of an earlier, longer content under the same name was cut off. To go on from
// beyond the end would be refused, as if the content were lost.
func TestFetchBeginsAnewWhereMoreIsThere(t *testing.T) {
	t.Parallel()
	data, file := content(t, 100)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path+".part", make([]byte, 150), 0o600))
	var offsets []int64
	source := func(ctx context.Context, sha256 string, offset int64) (io.ReadCloser, int64, error) {
		if offset > file.Size {
			return nil, 0, contract.Errorf(contract.CodeInvalid, "the range cannot be satisfied")
		}
		return cutSource(data, 1000, &offsets)(ctx, sha256, offset)
	}
	require.NoError(t, gatewayclient.Fetch(t.Context(), quiet, source, file, path))
	require.Equal(t, []int64{0}, offsets)
}

func TestFetchRefusesOtherContent(t *testing.T) {
	t.Parallel()
	data, file := content(t, 100)
	data[50] ^= 1
	path := filepath.Join(t.TempDir(), "file")
	var offsets []int64
	err := gatewayclient.Fetch(t.Context(), quiet, cutSource(data, 1000, &offsets), file, path)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
	require.Equal(t, []int64{0, 0}, offsets, "it was tried afresh once")
	require.NoFileExists(t, path)
	require.NoFileExists(t, path+".part")
}

func TestFetchMendsADamagedFile(t *testing.T) {
	t.Parallel()
	data, file := content(t, 100)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("damaged"), 0o600))
	var offsets []int64
	require.NoError(t, gatewayclient.Fetch(t.Context(), quiet, cutSource(data, 1000, &offsets), file, path))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, data, got)
}

func TestFetchTakesNoStrangeDigest(t *testing.T) {
	t.Parallel()
	err := gatewayclient.Fetch(t.Context(), quiet, nil, contract.FileInfo{SHA256: "../../etc/passwd"}, "x")
	require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
}

func claimed(t *testing.T) (*gatewaytest.Gateway, *gatewayclient.Run) {
	t.Helper()
	gateway := gatewaytest.New(t)
	gateway.AddRun(job, contract.KindJob, contract.RunSpec{})
	client := gateway.Client(t)
	claim, err := client.Claim(t.Context(), job, contract.ClaimRequest{Worker: "w"})
	require.NoError(t, err)
	return gateway, client.Run(job, "w", claim)
}

func TestUploadInChunksGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	_, run := claimed(t)
	data, file := content(t, 2*contract.UploadChunkBytes+100)
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	state, err := run.UploadChunk(t.Context(), file.SHA256, 0, file.Size, data[:1000])
	require.NoError(t, err)
	require.Equal(t, int64(1000), state.Received)

	require.NoError(t, gatewayclient.Upload(t.Context(), quiet, run, path, file))
	fetched := filepath.Join(t.TempDir(), "back")
	require.NoError(t, gatewayclient.Fetch(t.Context(), quiet, run.Blobs(), file, fetched))
	require.NoError(t, gatewayclient.Upload(t.Context(), quiet, run, "/gone", file), "what is there is not sent again")
}

func TestUploadOfNothing(t *testing.T) {
	t.Parallel()
	_, run := claimed(t)
	_, file := content(t, 0)
	path := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, gatewayclient.Upload(t.Context(), quiet, run, path, file))
	stored, err := run.HasBlob(t.Context(), file.SHA256)
	require.NoError(t, err)
	require.True(t, stored)
}

func TestUploadOfAFileThatIsGone(t *testing.T) {
	t.Parallel()
	_, run := claimed(t)
	_, file := content(t, 10)
	require.ErrorIs(t, gatewayclient.Upload(t.Context(), quiet, run, "/gone", file), os.ErrNotExist)
}

func TestRunRenewsItsToken(t *testing.T) {
	t.Parallel()
	gateway, run := claimed(t)
	gateway.ExpireToken(job)
	_, err := run.UploadState(t.Context(), hex.EncodeToString(make([]byte, 32)))
	require.NoError(t, err)

	_, err = gateway.Client(t).Claim(t.Context(), job, contract.ClaimRequest{ExpectEpoch: 1, Worker: "other"})
	require.NoError(t, err)
	err = run.PutResult(t.Context(), contract.RunResult{Epoch: 1})
	require.Equal(t, contract.CodeEpochSuperseded, contract.CodeOf(err), "an older epoch gets no new token")
}

func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	gateway := gatewaytest.New(t)
	client := gateway.Client(t)
	_, err := client.RunState(t.Context(), "job_none")
	require.Equal(t, contract.CodeNotFound, contract.CodeOf(err))
	require.False(t, gatewayclient.Temporary(err))

	gateway.SetDown(true)
	_, err = client.RunState(t.Context(), job)
	require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err))
	require.True(t, gatewayclient.Temporary(err))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.RunState(ctx, job)
	require.ErrorIs(t, err, context.Canceled)
}

// Whatever stands between a worker and its gateway: a proxy that finds no gateway, one that wants a sign-in, a page that
// greets every request. None of it is the gateway's word, so none is acted on, and no token follows a redirect.
func TestAnswersThatAreNotTheGateways(t *testing.T) {
	t.Parallel()
	status := make(chan int, 1)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent elsewhere")
		}
	}))
	t.Cleanup(elsewhere.Close)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", elsewhere.URL)
		w.WriteHeader(<-status)
		_, _ = io.WriteString(w, "<html>a proxy's page</html>")
	}))
	t.Cleanup(server.Close)
	client, err := gatewayclient.New(server.URL, "token")
	require.NoError(t, err)
	t.Cleanup(client.Close)
	run := client.Run(job, "worker", contract.Claim{Epoch: 1, Token: "1/token"})
	data, file := content(t, 10)
	calls := map[string]func() error{
		"state":      func() error { _, err := client.RunState(t.Context(), job); return err },
		"checkpoint": func() error { return run.PutCheckpoint(t.Context(), contract.Manifest{Name: "step-00000001"}) },
		"result":     func() error { return run.PutResult(t.Context(), contract.RunResult{}) },
		"stored":     func() error { _, err := run.HasBlob(t.Context(), file.SHA256); return err },
		"download":   func() error { _, _, err := run.Blobs()(t.Context(), file.SHA256, 0); return err },
		"arrived":    func() error { _, err := run.UploadState(t.Context(), file.SHA256); return err },
		"upload":     func() error { _, err := run.UploadChunk(t.Context(), file.SHA256, 0, file.Size, data); return err },
	}
	for _, given := range []int{200, 204, 307, 401, 403, 404, 409, 413, 429, 502} {
		for name, call := range calls {
			status <- given
			err := call()
			require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), "%s after %d: %v", name, given, err)
			require.True(t, gatewayclient.Temporary(err))
		}
	}
}

func TestPatientlyGivesUpOnlyForGood(t *testing.T) {
	t.Parallel()
	tries := 0
	err := gatewayclient.Patiently(t.Context(), quiet, "try", func(context.Context) error {
		if tries++; tries < 3 {
			return contract.Errorf(contract.CodeUnavailable, "away")
		}
		return contract.Errorf(contract.CodeBadData, "for good")
	})
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
	require.Equal(t, 3, tries)

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	err = gatewayclient.Patiently(ctx, quiet, "try", func(context.Context) error {
		cancel(why)
		return contract.Errorf(contract.CodeUnavailable, "away")
	})
	require.ErrorIs(t, err, why)
}
