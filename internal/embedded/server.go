// Package embedded runs Temporal inside a VibeFlow process: the server with its own SQLite file, and Temporal's UI.
// It is the only package that imports go.temporal.io/server, whose cold build takes minutes.
//
// Every user of a machine shares its loopback interface, so nothing here trusts a caller for reaching a port: the
// frontend wants the data folder's token on every call, the services behind it talk over mutual TLS with a
// certificate that exists in this process's memory alone, and the UI passes its caller's token on, having none.
//
// Temporal calls its SQLite store fit for development and testing. docs/adr says why VibeFlow uses it on one
// machine all the same, how it was tested, and when to point VibeFlow at a cluster instead.
package embedded

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	uiserver "github.com/temporalio/ui-server/v2/server"
	uiconfig "github.com/temporalio/ui-server/v2/server/config"
	uioptions "github.com/temporalio/ui-server/v2/server/server_options"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/temporal"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
)

// UIPath is the path under which Temporal's UI answers, on its own port and behind VibeFlow's server alike.
const UIPath = "/temporal"

// readyPatience is how long the server may take from its start to its first answer: 0.6 s on two idle cores.
const readyPatience = 60 * time.Second

// Options configures an embedded Temporal.
type Options struct {
	DataDir *datadir.Dir
	// FrontendPort and UIPort are taken as they are, or refused if somebody has them; 0 takes those of the last
	// start, else 7233 and 8233, else a free one.
	FrontendPort int
	UIPort       int
	// AnyPorts takes free ports without looking at the usual ones: for tests.
	AnyPorts bool
	// Recording takes runs of other servers by their histories, and suggests to continue as new after a few events: for
	// tests.
	Recording bool
	Token     string // what callers must present; empty: the data folder's
	Logger    *slog.Logger
	// Ready, if set, is called once, when the namespace answers.
	Ready func(datadir.Endpoints)
}

// Server is an embedded Temporal that runs once.
type Server struct{ options Options }

// New returns a server that Run starts.
func New(options Options) *Server {
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	return &Server{options: options}
}

// Run owns the data folder's Temporal until the context ends, and then stops it cleanly (about a second). It
// publishes where it listens once it answers. It refuses to start (CodeInUse) if the folder has a Temporal or a
// named port is taken, and (CodePrerequisite) if a release of Temporal wrote the database that this one cannot go on with; one of the release
// before is upgraded, and a copy of it is kept.
//
// Temporal ends the whole process if it loses a port between our look and its own; nothing can be recovered from
// that here, so Run belongs into a process of its own.
func (s *Server) Run(ctx context.Context) error {
	began := time.Now()
	dir := s.options.DataDir
	lock, err := dir.Lock(string(datadir.ProcessTemporal))
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := s.resolveToken(); err != nil {
		return err
	}
	ports, err := choosePorts(dir.TemporalDir(), s.options)
	if err != nil {
		return err
	}
	if err := prepareDatabase(dir.TemporalDir(), s.options.Logger); err != nil {
		return err
	}
	stop, err := s.start(ports)
	if err != nil {
		return err
	}
	defer stop()
	return s.serve(ctx, ports, began)
}

func (s *Server) resolveToken() (err error) {
	if s.options.Token == "" {
		s.options.Token, err = s.options.DataDir.Token(datadir.SecretTemporalToken)
	}
	return err
}

// serve waits until the server answers, tells everybody, and waits for the end.
func (s *Server) serve(ctx context.Context, ports ports, began time.Time) error {
	c, err := temporalclient.Dial(ctx, temporalclient.Options{
		Address: ports.frontendAddress(), Token: s.options.Token,
		Logger: s.options.Logger, Patience: readyPatience,
	})
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("embedded Temporal did not become ready: %w", err)
	}
	err = addMissingAttributes(ctx, c)
	c.Close()
	if err != nil {
		return err
	}
	at := datadir.Endpoints{TemporalAddress: ports.frontendAddress(), TemporalUI: "http://" + ports.uiAddress() + UIPath}
	if err := s.options.DataDir.Publish(datadir.ProcessTemporal, at); err != nil {
		return fmt.Errorf("publish Temporal's address: %w", err)
	}
	defer func() { _ = s.options.DataDir.Unpublish(datadir.ProcessTemporal) }()
	s.options.Logger.Info("Temporal is ready", "address", at.TemporalAddress, "ui", at.TemporalUI,
		"seconds", time.Since(began).Seconds())
	if s.options.Ready != nil {
		s.options.Ready(at)
	}
	<-ctx.Done()
	return nil
}

// start starts server and UI and returns what stops both.
func (s *Server) start(ports ports) (stop func(), err error) {
	stopping := new(atomic.Bool)
	logger := serverLogger{log: s.options.Logger, stopping: stopping}
	tls, err := newInternodeTLS()
	if err != nil {
		return nil, fmt.Errorf("make the internal certificate: %w", err)
	}
	gate := newGate(s.options.Token)
	server, err := temporal.NewServer(
		temporal.WithConfig(serverConfig(s.options.DataDir.TemporalDB(), ports, s.options.Recording)),
		temporal.ForServices(services),
		temporal.WithStaticHosts(hosts(ports)),
		temporal.WithLogger(logger),
		temporal.WithNamespaceLogger(logger),
		temporal.WithTLSConfigFactory(tls),
		temporal.WithAuthorizer(gate),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return gate }),
		temporal.WithDynamicConfigClient(dynamicConfig(s.options.Recording)),
	)
	if err != nil {
		return nil, fmt.Errorf("configure embedded Temporal: %w", err)
	}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start embedded Temporal: %w", err)
	}
	ui := newUI(ports)
	go func() {
		if err := ui.Start(); err != nil {
			s.options.Logger.Error("Temporal's UI ended", "error", err)
		}
	}()
	return func() {
		stopping.Store(true)
		ui.Stop()
		if err := server.Stop(); err != nil {
			s.options.Logger.Warn("Temporal stopped uncleanly", "error", err)
		}
	}, nil
}

// newUI makes Temporal's web UI. It holds no credentials: its API hands the Authorization header of each request on
// to the frontend, so that it shows nothing to a caller without the token. VibeFlow's server adds the token behind
// its own sign-in.
func newUI(ports ports) *uiserver.Server {
	// It prints to the standard logger that a public path costs its content security policy. VibeFlow's server sets
	// one on what it proxies.
	printer := stdlog.Writer()
	stdlog.SetOutput(io.Discard)
	defer stdlog.SetOutput(printer)
	return uiserver.NewServer(uioptions.WithConfigProvider(&uiconfig.Config{
		Host:                loopback,
		Port:                ports.UI,
		TemporalGRPCAddress: ports.frontendAddress(),
		EnableUI:            true,
		PublicPath:          UIPath,
		DefaultNamespace:    contract.Namespace,
		CORS:                uiconfig.CORS{CookieInsecure: true}, // plain HTTP on loopback
		HideLogs:            true,
		DisableNewsFetch:    true,
	}))
}

func hosts(ports ports) map[primitives.ServiceName]static.Hosts {
	hosts := map[primitives.ServiceName]static.Hosts{}
	for _, name := range services {
		address := net.JoinHostPort(loopback, strconv.Itoa(ports.of(name)))
		hosts[primitives.ServiceName(name)] = static.SingleLocalHost(address)
	}
	return hosts
}
