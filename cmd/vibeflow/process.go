package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/vibeflow/vibeflow/activities"
	"github.com/vibeflow/vibeflow/api"
	"github.com/vibeflow/vibeflow/api/gateway"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/backup"
	"github.com/vibeflow/vibeflow/internal/catalog"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/embedded"
	"github.com/vibeflow/vibeflow/internal/limit"
	"github.com/vibeflow/vibeflow/internal/pyenv"
	"github.com/vibeflow/vibeflow/internal/store"
	"github.com/vibeflow/vibeflow/internal/supervise"
	"github.com/vibeflow/vibeflow/internal/temporalclient"
	"github.com/vibeflow/vibeflow/internal/tlsfiles"
	"github.com/vibeflow/vibeflow/ui"
	"github.com/vibeflow/vibeflow/workers"
)

// The addresses of a server that is not told others; defaultLocal is for its own machine where TLS has the usual port.
const (
	defaultListen = "127.0.0.1:" + defaultPort
	defaultPort   = "8400"
	defaultLocal  = "127.0.0.1:8401"
)

// processContext ends on SIGTERM, SIGINT, or when the `up` that started this process is gone.
func processContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(ctx)
	supervise.WatchParent(cancel)
	return ctx, func() { cancel(); stop() }
}

func logger(process datadir.Process) *slog.Logger {
	level := slog.LevelInfo
	if os.Getenv("VIBEFLOW_LOG") == "debug" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("process", string(process))
	slog.SetDefault(log)
	return log
}

func (a *app) temporalCommand() *cobra.Command {
	var options embedded.Options
	cmd := &cobra.Command{
		Use: "temporal", Short: "Run the embedded Temporal server and its UI", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			ctx, stop := processContext(cmd.Context())
			defer stop()
			options.DataDir, options.Logger = dir, logger(datadir.ProcessTemporal)
			return embedded.New(options).Run(ctx)
		},
	}
	cmd.Flags().IntVar(&options.FrontendPort, "port", 0, "gRPC port (default: the last start's, else 7233, else a free one)")
	cmd.Flags().IntVar(&options.UIPort, "ui-port", 0, "port of Temporal's UI (likewise, 8233)")
	return cmd
}

func (a *app) serverCommand() *cobra.Command {
	var flags serverFlags
	var beside bool
	cmd := &cobra.Command{
		Use: "server", Short: "Run the API, the worker gateway and the control worker", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.dataDir()
			if err != nil {
				return err
			}
			if err := flags.check(); err != nil {
				return err
			}
			ctx, stop := processContext(cmd.Context())
			defer stop()
			return (&serverProcess{dir: dir, flags: flags, beside: beside, log: logger(datadir.ProcessServer)}).run(ctx)
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&beside, besideWorker, false, "workers on this machine see the files that the server sees")
	_ = cmd.Flags().MarkHidden(besideWorker)
	return cmd
}

// besideWorker is the flag by which `up` tells the server that they and the worker are on one machine, in one container.
const besideWorker = "beside-worker"

// serverFlags are the flags of the server; `up` has them too.
type serverFlags struct {
	listen, local           string
	tlsCert, tlsKey         string
	hosts, origins, proxies []string
	exposed                 bool
	rate                    int
	trusted                 []netip.Prefix
	pair                    *tlsfiles.Pair
	backup                  backupFlags
}

const defaultRate = 50

func (f *serverFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", defaultListen, "address of the server")
	cmd.Flags().StringSliceVar(&f.hosts, "host", nil, "name under which others may call the server")
	cmd.Flags().StringVar(&f.tlsCert, "tls-cert", "", "PEM file with the TLS certificate and its chain; a renewed one is taken without a restart")
	cmd.Flags().StringVar(&f.tlsKey, "tls-key", "", "PEM file with the certificate's key")
	cmd.Flags().StringVar(&f.local, "local-listen", "", "with TLS: the loopback address of this machine's own processes (default 127.0.0.1:8400, or 8401 if --listen has that port)")
	cmd.Flags().BoolVar(&f.exposed, "insecure-expose", false, "allow an address beyond loopback in plain HTTP (put a TLS proxy before it)")
	cmd.Flags().StringSliceVar(&f.origins, "cors-origin", nil, "origin (https://host) of another site whose pages may call the API")
	cmd.Flags().StringSliceVar(&f.proxies, "trusted-proxy", nil, "address or network (CIDR) of a proxy whose X-Forwarded-For is believed")
	cmd.Flags().IntVar(&f.rate, "rate-limit", defaultRate, "requests a second that a user or a key may send for long (0: any number)")
	f.backup.add(cmd)
}

// check refuses flags that cannot be meant.
func (f *serverFlags) check() error {
	if err := f.checkTLS(); err != nil {
		return err
	}
	if err := checkExposure(f.listen, f.exposed || f.pair != nil); err != nil {
		return err
	}
	if err := f.backup.check(); err != nil {
		return err
	}
	for _, origin := range f.origins {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Scheme+"://"+u.Host != origin {
			return contract.Errorf(contract.CodeInvalid, "%q is not an origin", origin).On("cors-origin").Mend("write it as https://host, or https://host:port, and nothing more")
		}
	}
	for _, proxy := range f.proxies {
		network, err := netip.ParsePrefix(proxy)
		if address, plain := netip.ParseAddr(proxy); plain == nil {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return contract.Errorf(contract.CodeInvalid, "%q is neither an address nor a network", proxy).On("trusted-proxy").Mend("write it as 10.0.0.7 or 10.0.0.0/8")
		}
		f.trusted = append(f.trusted, network)
	}
	if f.rate < 0 {
		return contract.Errorf(contract.CodeInvalid, "the rate cannot be negative").On("rate-limit")
	}
	return nil
}

// checkTLS reads the certificate, and finds the loopback address that goes with it.
func (f *serverFlags) checkTLS() (err error) {
	if f.tlsCert == "" && f.tlsKey == "" {
		if f.local != "" {
			return contract.Errorf(contract.CodeInvalid, "without TLS there is one address").On("local-listen").Mend("name it with --listen")
		}
		return nil
	}
	if f.tlsCert == "" || f.tlsKey == "" {
		return contract.Errorf(contract.CodeInvalid, "a certificate and its key go together").On("tls-cert").Mend("give both --tls-cert and --tls-key")
	}
	if f.exposed {
		return contract.Errorf(contract.CodeInvalid, "--insecure-expose is for plain HTTP, and this server is to speak TLS").On("insecure-expose").Mend("leave one of them out")
	}
	if f.pair, err = tlsfiles.Load(f.tlsCert, f.tlsKey); err != nil {
		return err
	}
	if f.local == "" {
		f.local = defaultListen
		if _, port, err := net.SplitHostPort(f.listen); err == nil && port == defaultPort {
			f.local = defaultLocal
		}
	}
	if _, _, err := net.SplitHostPort(f.local); err != nil || !onLoopback(f.local) {
		return contract.Errorf(contract.CodeInvalid, "%q is no address of loopback", f.local).On("local-listen").Mend("for example 127.0.0.1:8401")
	}
	return nil
}

// args are the flags as `up` hands them on, less the address.
func (f *serverFlags) args() []string {
	args := []string{"--rate-limit", strconv.Itoa(f.rate)}
	for flag, values := range map[string][]string{"--host": f.hosts, "--cors-origin": f.origins, "--trusted-proxy": f.proxies} {
		for _, value := range values {
			args = append(args, flag, value)
		}
	}
	args = append(args, f.backup.args()...)
	if f.exposed {
		args = append(args, "--insecure-expose")
	}
	if f.pair != nil {
		args = append(args, "--tls-cert", f.tlsCert, "--tls-key", f.tlsKey, "--local-listen", f.local)
	}
	return args
}

// names are those under which others may call: the given ones, and those that the certificate is for.
func (f *serverFlags) names() []string {
	if f.pair == nil {
		return f.hosts
	}
	return append(slices.Clone(f.hosts), f.pair.Names()...)
}

// publicURL is where others reach a server that speaks TLS: by the first of its names, else by its address.
func (f *serverFlags) publicURL() string {
	if f.pair == nil {
		return ""
	}
	host, port, _ := net.SplitHostPort(f.listen)
	if names := f.names(); len(names) > 0 {
		host = names[0]
	}
	if port == "443" {
		return "https://" + strings.TrimSuffix(net.JoinHostPort(host, ""), ":")
	}
	return "https://" + net.JoinHostPort(host, port)
}

// limits are the defaults, in proportion to the rate.
func (f *serverFlags) limits() api.Limits {
	limits := api.DefaultLimits()
	if f.rate == 0 {
		return api.Limits{Address: limits.Address}
	}
	for _, rule := range []*limit.Rule{&limits.User, &limits.Key} {
		rule.Burst = max(1, rule.Burst*f.rate/int(rule.PerSecond))
		rule.PerSecond = float64(f.rate)
	}
	return limits
}

// checkExposure keeps tokens off the wire: plain HTTP is for loopback, unless the operator says otherwise (allowed).
func checkExposure(listen string, allowed bool) *contract.Error {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return contract.Errorf(contract.CodeInvalid, "%q is not host:port", listen).On("listen")
	}
	if onLoopback(listen) || allowed {
		return nil
	}
	return contract.Errorf(contract.CodeInvalid, "%s is reachable by others, who must not be spoken to in plain HTTP", listen).On("listen").
		Mend("give --tls-cert and --tls-key; or, behind a TLS proxy, listen on 127.0.0.1 or add --insecure-expose")
}

func onLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// serverProcess is the only process that opens the database and the blobs, and the only one with their keys.
type serverProcess struct {
	dir    *datadir.Dir
	flags  serverFlags
	beside bool
	log    *slog.Logger
	store  *store.Store
	blobs  *artifact.Store
	// restored says that the data folder was made of a backup, and that this is the first start that goes on from it.
	restored bool
}

func (p *serverProcess) run(ctx context.Context) error {
	lock, err := p.dir.Lock(string(datadir.ProcessServer))
	if err != nil {
		return err
	}
	defer lock.Release()
	doors, err := p.flags.openDoors()
	if err != nil {
		return err
	}
	defer doors.close()
	if err := p.open(ctx); err != nil {
		return err
	}
	defer func() { _ = errors.Join(p.blobs.Close(), p.store.Close()) }()
	return p.serve(ctx, doors)
}

// doors are where the server listens. local is for this machine's own processes; public, if it is another, speaks TLS.
type doors struct{ local, public net.Listener }

func (f *serverFlags) openDoors() (d doors, err error) {
	if f.pair == nil {
		d.local, err = listen(f.listen, "listen")
		return d, err
	}
	if d.local, err = listen(f.local, "local-listen"); err != nil {
		return d, err
	}
	public, err := listen(f.listen, "listen")
	if err != nil {
		d.close()
		return d, err
	}
	d.public = tls.NewListener(public, f.pair.Config())
	return d, nil
}

func listen(address, flag string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, contract.Errorf(contract.CodeInUse, "cannot listen on %s: %w", address, err).On(flag).
			Mend("stop what uses the port, or choose another with --%s", flag)
	}
	return listener, nil
}

func (d doors) close() {
	for _, listener := range d.all() {
		_ = listener.Close()
	}
}

func (d doors) all() []net.Listener {
	if d.public == nil {
		return []net.Listener{d.local}
	}
	return []net.Listener{d.local, d.public}
}

func (d doors) endpoints() datadir.Endpoints {
	at := datadir.Endpoints{Server: "http://" + d.local.Addr().String()}
	if d.public != nil {
		at.Public = "https://" + d.public.Addr().String()
	}
	return at
}

func (p *serverProcess) open(ctx context.Context) (err error) {
	key, err := p.dir.MasterKey()
	if err != nil {
		return err
	}
	if p.store, err = store.Open(ctx, store.Options{Path: p.dir.AppDB(), MasterKey: key, Logger: p.log}); err != nil {
		return err
	}
	p.blobs, err = artifact.Open(ctx, artifact.Options{BucketURL: artifact.FolderURL(p.dir.Blobs()), MasterKey: key,
		Index: p.store, SpoolDir: p.dir.Spool(), Logger: p.log, Held: func() bool { _, held := p.dir.Owner(datadir.LockBackup); return held }})
	if err != nil {
		return err
	}
	if err := p.takeUp(ctx); err != nil {
		return err
	}
	return p.store.UpsertCatalog(ctx, catalog.Rows())
}

// takeUp fences what was launched from the databases of which this folder has a backup's copy, before anybody is answered.
func (p *serverProcess) takeUp(ctx context.Context) error {
	mark, err := p.dir.Restored()
	if err != nil || mark == nil || !mark.TakenUp.IsZero() {
		return err
	}
	if err := p.store.BeginTimeline(ctx); err != nil {
		return err
	}
	p.log.Warn("going on from a backup: what happened after it is not here", "backup", mark.From, "backup_at", mark.BackupAt, "missing", len(mark.Missing))
	mark.TakenUp, p.restored = time.Now().UTC(), true
	return p.dir.SaveRestored(*mark)
}

// serve answers HTTP at once; the control worker joins when Temporal is there.
func (p *serverProcess) serve(ctx context.Context, doors doors) error {
	control := activities.NewControl(p.store, p.blobs, p.log)
	temporal := newTemporalLink(p.dir, p.log)
	server, err := p.api(control, temporal)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx, doors.all()...) })
	group.Go(func() error {
		c, err := temporal.dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		return workers.RunControl(ctx, workers.ControlConfig{Client: c, Outbox: p.store, Line: p.store, Ledger: p.store, Restored: p.restored, Activities: control,
			Logger: p.log, Ready: func() { temporal.markReady(c) }})
	})
	if schedule := p.flags.backup.Schedule; schedule.Every > 0 {
		s := &backup.Scheduler{Dir: p.dir, Schedule: schedule, Version: version(), Log: p.log}
		group.Go(func() error { s.Run(ctx); return nil })
	} else if err := backup.Unscheduled(p.dir); err != nil {
		p.log.Warn("that no backups are scheduled cannot be written down", "error", err)
	}
	at := doors.endpoints()
	if err := p.dir.Publish(datadir.ProcessServer, at); err != nil {
		return err
	}
	defer func() { _ = p.dir.Unpublish(datadir.ProcessServer) }()
	p.log.Info("server is up", "url", at.Server, "public", at.Public)
	err = group.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (p *serverProcess) api(control *activities.Control, temporal *temporalLink) (*api.Server, error) {
	cliToken, err := p.dir.Token(datadir.SecretCLIToken)
	if err != nil {
		return nil, err
	}
	workerToken, err := p.dir.Token(datadir.SecretWorkerToken)
	if err != nil {
		return nil, err
	}
	temporalToken, err := p.dir.Token(datadir.SecretTemporalToken)
	if err != nil {
		return nil, err
	}
	signing, err := p.dir.Key(datadir.SecretJWTKey)
	if err != nil {
		return nil, err
	}
	door, err := gateway.New(gateway.Deps{Store: p.store, Artifacts: p.blobs, WorkerToken: workerToken, SigningKey: signing, Logger: p.log})
	if err != nil {
		return nil, err
	}
	cache, err := pyenv.DefaultCacheDir()
	if err != nil {
		cache = "" // a service user may have none
	}
	return api.New(api.Options{
		Store: p.store, Artifacts: p.blobs, Gateway: door, CLIToken: cliToken, SigningKey: signing,
		Advise: control.Recommend, Draft: control.Draft, ShowTokens: temporal.tokens(door), Host: p.host(), TemporalUI: temporal.ui, TemporalToken: temporalToken, TemporalReady: temporal.ready,
		DataRoot: p.dir.Root(), CacheRoot: cache, Version: version(), App: ui.Files(), Hosts: p.flags.names(), PublicURL: p.flags.publicURL(), Logger: p.log,
		Origins: p.flags.origins, TrustedProxies: p.flags.trusted, Limits: p.flags.limits(),
		Exposed: !onLoopback(p.flags.listen) || len(p.flags.names()) > 0,
	})
}

// host is this machine's name as workers report it, if they see the same files.
func (p *serverProcess) host() string {
	if !p.beside {
		return ""
	}
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// temporalLink is the server's connection to Temporal, which may come up later than the server.
type temporalLink struct {
	dir    *datadir.Dir
	log    *slog.Logger
	polls  chan struct{}
	client client.Client // once polls is closed
}

func newTemporalLink(dir *datadir.Dir, log *slog.Logger) *temporalLink {
	return &temporalLink{dir: dir, log: log, polls: make(chan struct{})}
}

func (l *temporalLink) dial(ctx context.Context) (client.Client, error) {
	return dialTemporal(ctx, l.dir, l.log, "")
}

// dialTemporal waits for the data folder's Temporal, or uses the one that VIBEFLOW_TEMPORAL names.
func dialTemporal(ctx context.Context, dir *datadir.Dir, log *slog.Logger, identity string) (client.Client, error) {
	token := os.Getenv("VIBEFLOW_TEMPORAL_TOKEN")
	if token == "" {
		var err error
		if token, err = dir.Token(datadir.SecretTemporalToken); err != nil {
			return nil, err
		}
	}
	address := os.Getenv("VIBEFLOW_TEMPORAL")
	if address == "" {
		at, err := dir.AwaitPublished(ctx, datadir.ProcessTemporal)
		if err != nil {
			return nil, err
		}
		address = at.TemporalAddress
	}
	return temporalclient.Dial(ctx, temporalclient.Options{Address: address, Token: token, Identity: identity, Logger: log})
}

func (l *temporalLink) markReady(c client.Client) {
	l.client = c
	close(l.polls)
}

// tokens has a worker answer a question that the gateway holds.
func (l *temporalLink) tokens(door *gateway.Gateway) func(context.Context, string, string, contract.TokensQuestion) ([]contract.TokensRow, error) {
	return func(ctx context.Context, projectID, queue string, asked contract.TokensQuestion) ([]contract.TokensRow, error) {
		if err := l.ready(ctx); err != nil {
			return nil, err
		}
		return door.AskTokens(ctx, projectID, asked, func(ctx context.Context, id string) error {
			return workers.AskTokens(ctx, l.client, contract.TokensInput{QuestionID: id, Queue: queue})
		})
	}
}

func (l *temporalLink) ready(context.Context) error {
	select {
	case <-l.polls:
		return nil
	default:
		return contract.Errorf(contract.CodeUnavailable, "the control worker does not poll yet")
	}
}

func (l *temporalLink) ui() string {
	at, _, _ := l.dir.Published(datadir.ProcessTemporal)
	return at.TemporalUI
}
