// Package api is VibeFlow's HTTP surface: the native API under /api as api/openapi.yaml says it, OpenAI's under /v1,
// the worker gateway under /internal, Temporal's UI under /temporal, and what operators probe. Handlers are thin: they
// check, write to the store, and let the outbox start or signal the workflow.
package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/api/stream"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/account"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/store"
)

// Options is what a server is made of.
type Options struct {
	Store     *store.Store
	Artifacts *artifact.Store
	// Gateway serves workers under /internal.
	Gateway interface{ Register(g *echo.Group) }
	// CLIToken signs the owner's CLI in; SigningKey (≥ 32 bytes) signs access tokens and is the pepper of API keys.
	CLIToken   string
	SigningKey []byte
	// Advise proposes a configuration; fixed choices of the input are kept. It refuses what cannot be trained.
	Advise func(context.Context, contract.RecommendInput) (contract.Recommendation, error)
	// Draft is Advise before there is data: the choices of the input are checked, and a plain configuration stands for none.
	Draft func(context.Context, contract.RecommendInput) (contract.Training, error)
	// ShowTokens has a worker of a queue say what a model's tokenizer makes of rows, with the project's Hub token.
	ShowTokens func(ctx context.Context, projectID, queue string, asked contract.TokensQuestion) ([]contract.TokensRow, error)
	// Host is this machine's name where workers that run on it see the files that this process sees; empty: they may not.
	Host string
	// TemporalUI is the UI's loopback URL, asked for at each request since Temporal may come up later; nil: none.
	TemporalUI    func() string
	TemporalToken string
	// TemporalReady is nil when Temporal answers.
	TemporalReady func(context.Context) error
	DataRoot      string
	// CacheRoot is where this machine's user keeps the runner's environment; empty: not told with the use of the disk.
	CacheRoot string
	Version   string
	// MaxUploadBytes bounds a dataset's file; 0 means 20 GB.
	MaxUploadBytes int64
	// App is the built web app; nil: a page that says how to build it.
	App fs.FS
	// Hosts are the names under which browsers may call, beside loopback ones (DNS rebinding).
	Hosts []string
	// PublicURL is where others reach the server (https://host[:port]), if it has an address for them; links for them lead there.
	PublicURL string
	// Origins are those of other sites whose pages may read answers (CORS), as scheme://host[:port]; none by default.
	Origins []string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For is believed; none by default.
	TrustedProxies []netip.Prefix
	// BodyTime is how long a JSON request may take to arrive, and how long an upload may stand still; 0 means 30 s.
	BodyTime time.Duration
	// Limits bound how often somebody may ask; the zero value does not. See DefaultLimits.
	Limits Limits
	// Exposed says that others than this machine's users can reach the server: sign-up is closed until an owner opens it.
	Exposed bool
	// BcryptCost is the work factor of passwords; 0 means auth.DefaultCost.
	BcryptCost int
	Logger     *slog.Logger
}

const (
	defaultMaxUpload = 20_000_000_000
	maxBody          = 4 << 20
	headerTimeout    = 10 * time.Second
	idleTimeout      = 2 * time.Minute
	// farewell is how long requests under way have when the server stops.
	farewell = 5 * time.Second
)

// Server serves the API. Make it with New, run it with Serve.
type Server struct {
	Options
	echo     *echo.Echo
	document *openapi3.T
	accounts *account.Accounts
	limits   limits
	sockets  *stream.WebSocket
	meter    *meter
	storage  *storageWatch
	disk     diskMeter
	answers  answers
	engines  *engines
	metrics  *prometheus.Registry
	// watching ends when streams of events have to: a watcher would else hold the server up for ever.
	watching    context.Context
	endWatching context.CancelFunc
	// deploying makes "is it deployed already?" and "then deploy it" one act.
	deploying sync.Mutex
}

var _ apigen.ServerInterface = (*Server)(nil)

// New builds the routes.
func New(opts Options) (*Server, error) {
	if opts.MaxUploadBytes == 0 {
		opts.MaxUploadBytes = defaultMaxUpload
	}
	if opts.BodyTime == 0 {
		opts.BodyTime = defaultBodyTime
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	accounts, err := account.New(account.Options{Store: opts.Store, SigningKey: opts.SigningKey, BcryptCost: opts.BcryptCost, Logger: opts.Logger})
	if err != nil {
		return nil, err
	}
	s := &Server{Options: opts, echo: echo.New(), accounts: accounts, limits: newLimits(opts.Limits),
		sockets: stream.NewWebSocket(publicLog{opts.Store}), meter: newMeter(opts.Store, opts.Logger), engines: newEngines(),
		storage: &storageWatch{try: opts.storable, log: opts.Logger}}
	s.watching, s.endWatching = context.WithCancel(context.Background())
	doc, err := described()
	if err != nil {
		return nil, err
	}
	s.document = doc
	s.echo.HTTPErrorHandler = s.answerError()
	s.echo.IPExtractor = clientAddress(opts.TrustedProxies)
	s.echo.Logger = opts.Logger
	return s, s.routes(doc)
}

func (s *Server) routes(doc *openapi3.T) error {
	validate, err := newValidator(doc)
	if err != nil {
		return err
	}
	s.echo.Use(requestID, s.measured(), middleware.Recover(), secureHeaders, s.knownHost, s.sharing(), showNothing)
	s.probes()
	s.temporalUI()
	if err := s.webApp(validate); err != nil {
		return err
	}
	s.openAI(validate)
	if s.Gateway != nil {
		s.Gateway.Register(s.echo.Group("/internal", showAll))
	}
	native := s.echo.Group("", s.limitBody, s.audited(validate), s.requires(validate.access), validate.middleware, s.narrowed, s.idempotent(validate), s.remembers(validate))
	apigen.RegisterHandlers(native, s)
	return nil
}

// Handler is the whole surface, for tests.
func (s *Server) Handler() http.Handler { return s.echo }

// Serve answers on the listeners until ctx ends. Streams of events end with it, so that watchers go on with the next
// process; other requests under way have 5 s to finish.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	if err := s.meter.settle(ctx); err != nil {
		for _, listener := range listeners {
			err = errors.Join(err, listener.Close())
		}
		if ctx.Err() != nil { // stopped before it began
			return nil
		}
		return err
	}
	server := &http.Server{Handler: s.echo, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn)}
	failed := make(chan error, len(listeners))
	for _, listener := range listeners {
		go func() { failed <- server.Serve(listener) }()
	}
	go s.meter.run(ctx)
	go s.storage.run(ctx, storageLook)
	go s.housekeeping(ctx)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.endWatching()
	_ = s.sockets.Close()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := server.Shutdown(stopCtx); err != nil {
		s.Logger.Warn("requests under way were cut off", "error", err)
		_ = server.Close()
	}
	s.meter.finish(ctx)
	return nil
}
