package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/loopback/loopbacktest"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	ownerToken = "the-owner's-token"
	maxUpload  = 80 << 20
)

var signingKey = bytes.Repeat([]byte{7}, 32)

// world is a server over a real database, a real bucket and real HTTP.
type world struct {
	t         testing.TB
	dir       string
	store     *store.Store
	artifacts *artifact.Store
	options   api.Options
	address   string
	stop      func()
	check     *conformance
	skew      *atomic.Int64 // how far the store's clock is ahead
}

// newWorld starts a server; each change may set options first.
func newWorld(t testing.TB, changes ...func(*api.Options)) *world {
	t.Helper()
	return newWorldAt(t, t.TempDir(), changes...)
}

// newWorldAt starts a server on a data folder that may have been used before.
func newWorldAt(t testing.TB, dir string, changes ...func(*api.Options)) *world {
	t.Helper()
	w := &world{t: t, dir: dir, check: newConformance(t), skew: new(atomic.Int64)}
	quiet := slog.New(slog.DiscardHandler)
	var err error
	w.store, err = store.Open(t.Context(), store.Options{Path: filepath.Join(w.dir, "app.db"), MasterKey: make([]byte, 32), Logger: quiet,
		Now: func() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }})
	require.NoError(t, err)
	w.artifacts, err = artifact.Open(t.Context(), artifact.Options{BucketURL: "file://" + w.dir + "/blobs",
		MasterKey: signingKey, Index: w.store, SpoolDir: filepath.Join(w.dir, "spool"), Logger: quiet})
	require.NoError(t, err)
	w.options = api.Options{Store: w.store, Artifacts: w.artifacts, CLIToken: ownerToken, SigningKey: signingKey, Advise: w.advise, Draft: w.draft, ShowTokens: showTokens,
		DataRoot: w.dir, Version: "test", MaxUploadBytes: maxUpload, Logger: quiet, BcryptCost: bcrypt.MinCost}
	for _, change := range changes {
		change(&w.options)
	}
	w.address = loopbacktest.Free(t)
	w.start()
	t.Cleanup(func() {
		w.stop()
		require.NoError(t, w.artifacts.Close())
		require.NoError(t, w.store.Close())
	})
	return w
}

// start serves at w.address; after a stop it is the same port again.
func (w *world) start() {
	w.t.Helper()
	server, err := api.New(w.options)
	require.NoError(w.t, err)
	var config net.ListenConfig
	listener, err := config.Listen(w.t.Context(), "tcp", w.address)
	require.NoError(w.t, err)
	w.address = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			w.t.Errorf("the server ended with %v", err)
		}
	})
}

// later moves the store's clock on.
func (w *world) later(by time.Duration) { w.skew.Add(int64(by)) }

func (w *world) url(path string) string { return "http://" + w.address + path }

func (w *world) client() *apiclient.Client {
	return &apiclient.Client{Base: w.url(""), Token: ownerToken}
}

// showTokens is the worker's part: a row is one token.
func showTokens(_ context.Context, _, _ string, asked contract.TokensQuestion) ([]contract.TokensRow, error) {
	rows := []contract.TokensRow{}
	for i, row := range asked.Rows {
		rows = append(rows, contract.TokensRow{Row: i, Tokens: []contract.Token{{ID: i, Text: string(row), Trained: asked.CompletionOnly}}})
	}
	return rows, nil
}

// advise is the recommender's part: it knows one base model, wants a profile, and refuses preference pairs and nonsense.
func (w *world) advise(ctx context.Context, in contract.RecommendInput) (contract.Recommendation, error) {
	d, err := w.store.GetDataset(ctx, in.DatasetID)
	if err != nil {
		return contract.Recommendation{}, err
	}
	if d.Canonical == "preference" {
		return contract.Recommendation{}, contract.Errorf(contract.CodeUnsupported, "preference training does not exist yet").
			On("dataset_id").Mend("bring prompts and answers")
	}
	proposal := contract.Recommendation{ModelID: baseModel, Reasons: []contract.Reason{}, Steps: 10, Config: contract.Training{
		Method: "lora", Epochs: 1, LearningRate: 2e-4, Scheduler: "cosine", BatchSize: 1, GradientAccumulationSteps: 8,
		MaxLength: 128, Precision: "auto", LoRA: contract.LoRA{Rank: 16, Alpha: 16, TargetModules: "all-linear"}},
		Memory: contract.Estimate{Verdict: "green"}}
	if in.ModelID != "" {
		if _, err := w.store.GetModel(ctx, in.ModelID); err != nil {
			return contract.Recommendation{}, err
		}
		proposal.ModelID = in.ModelID
	}
	if in.Config != nil {
		proposal.Config = *in.Config
	}
	if proposal.Config.LearningRate <= 0 {
		return contract.Recommendation{}, contract.Errorf(contract.CodeInvalidConfig, "learning_rate is %v", proposal.Config.LearningRate).
			On("learning_rate").Mend("choose a number above 0")
	}
	return proposal, nil
}

// draft is the recommender's part before there is data.
func (w *world) draft(_ context.Context, in contract.RecommendInput) (contract.Training, error) {
	if in.Config == nil {
		return contract.Training{Method: "lora", Epochs: 1, LearningRate: 2e-4}, nil
	}
	if in.Config.LearningRate <= 0 {
		return *in.Config, contract.Errorf(contract.CodeInvalidConfig, "learning_rate is %v", in.Config.LearningRate).On("learning_rate").Mend("choose a number above 0")
	}
	return *in.Config, nil
}

// answer is what a request got.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// into decodes the answer, which must have the status.
func into[T any](a answer, status int) T {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	var v T
	require.NoError(a.t, json.Unmarshal(a.body, &v))
	return v
}

// problem is the answer's problem document, which must be one.
func (a answer) problem(status int) apigen.Problem {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	require.Equal(a.t, "application/problem+json", a.header.Get("Content-Type"), "%s", a.body)
	p := into[apigen.Problem](a, status)
	require.Equal(a.t, status, p.Status)
	require.NotEmpty(a.t, p.Code)
	require.NotEmpty(a.t, p.Detail)
	require.NotEmpty(a.t, p.RequestID)
	return p
}

// with changes a request before it is sent.
type with func(*http.Request)

func header(name, value string) with {
	return func(r *http.Request) {
		r.Header.Del(name)
		if name == "Host" {
			r.Host = value
		} else if value != "" {
			r.Header.Set(name, value)
		}
	}
}

func bearer(token string) with { return header("Authorization", "Bearer "+token) }

func nobody() with { return header("Authorization", "") }

// call sends a request as the owner. body is sent as it is if it is a string or a reader, else as JSON.
func (w *world) call(method, path string, body any, changes ...with) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url(path), reader(w.t, body))
	require.NoError(w.t, err)
	req.Header.Set("Authorization", "Bearer "+ownerToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, change := range changes {
		change(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, res.Body.Close()) }()
	data, err := io.ReadAll(res.Body)
	require.NoError(w.t, err)
	w.check.response(w.t, req, res, data)
	return answer{w.t, res.StatusCode, res.Header, data}
}

func (w *world) get(path string, changes ...with) answer {
	w.t.Helper()
	return w.call(http.MethodGet, path, nil, changes...)
}

func (w *world) post(path string, body any, changes ...with) answer {
	w.t.Helper()
	return w.call(http.MethodPost, path, body, changes...)
}

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	case io.Reader:
		return b
	default:
		data, err := json.Marshal(body)
		require.NoError(t, err)
		return bytes.NewReader(data)
	}
}

// files lists what lies in the bucket and the spool.
func (w *world) files() []string {
	w.t.Helper()
	found := []string{}
	for _, folder := range []string{"blobs/objects", "spool"} {
		require.NoError(w.t, filepath.WalkDir(filepath.Join(w.dir, folder), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				found = append(found, path)
			}
			return err
		}))
	}
	return found
}

// conformance holds every answer against the document.
type conformance struct {
	doc    *openapi3.T
	router routers.Router
}

func newConformance(t testing.TB) *conformance {
	t.Helper()
	c, err := described()
	require.NoError(t, err)
	return c
}

// described is read once: the document is large, and every test has a world of its own.
var described = sync.OnceValues(func() (*conformance, error) {
	data, err := os.ReadFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	doc, err := openapi3.NewLoader().LoadFromData(data)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(doc)
	return &conformance{doc: doc, router: router}, err
})

// response fails the test if the document does not describe the answer. Refusals of what no operation is are problems.
func (c *conformance) response(t testing.TB, req *http.Request, res *http.Response, body []byte) {
	t.Helper()
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		return
	}
	if contentType := res.Header.Get("Content-Type"); strings.HasPrefix(contentType, "text/event-stream") {
		return // streams are checked by those who read them
	}
	input := &openapi3filter.ResponseValidationInput{Status: res.StatusCode, Header: res.Header,
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true}}
	err = openapi3filter.ValidateResponse(context.WithoutCancel(req.Context()), input.SetBodyBytes(body))
	require.NoError(t, err, "%s %s answered %d: %s", req.Method, req.URL.Path, res.StatusCode, clip(body))
}

func clip(body []byte) string {
	return fmt.Sprintf("%.300s", body)
}
