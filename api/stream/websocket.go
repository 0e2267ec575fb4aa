package stream

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/olahol/melody"

	"github.com/vibeflow/vibeflow/contract"
)

// windowEvents is how many frames may wait in one session's buffer. Melody drops a frame when its buffer is full, so a
// session never has more under way than half of it.
const windowEvents = 128

// WebSocket serves streams over WebSocket. Each frame is one event as JSON; the client only ever sends pongs.
type WebSocket struct {
	melody *melody.Melody
	log    Log
}

const sessionKey = "watcher"

// watcher is one session's state. The pump takes a ticket for each frame; a frame that was written gives it back.
type watcher struct {
	name    string
	after   int64
	final   Final
	tickets chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc
}

// NewWebSocket makes the handler over a log.
func NewWebSocket(log Log) *WebSocket {
	m := melody.New()
	m.Config.MessageBufferSize = 2 * windowEvents
	m.Config.MaxMessageSize = 1024
	m.Config.PingPeriod = 20 * time.Second
	m.Config.PongWait = 45 * time.Second
	m.Upgrader.CheckOrigin = sameOrigin
	ws := &WebSocket{melody: m, log: log}
	m.HandleConnect(ws.connected)
	m.HandleDisconnect(func(s *melody.Session) { watcherOf(s).cancel() })
	m.HandleSentMessage(func(s *melody.Session, _ []byte) { watcherOf(s).giveBack() })
	return ws
}

// Watch is what a watcher asks for: the events of the stream Name after After. It ends after a Final event, and at Until
// (zero: not), when what the watcher signed in with does.
type Watch struct {
	Name  string
	After int64
	Final Final
	Until time.Time
}

// Serve upgrades the request and sends events until either side leaves.
func (ws *WebSocket) Serve(w http.ResponseWriter, r *http.Request, watch Watch) error {
	ctx, cancel := Until(context.WithoutCancel(r.Context()), watch.Until)
	defer cancel()
	state := &watcher{name: watch.Name, after: watch.After, final: watch.Final, ctx: ctx, cancel: cancel,
		tickets: make(chan struct{}, windowEvents)}
	return ws.melody.HandleRequestWithKeys(w, r, map[string]any{sessionKey: state})
}

// Close ends every session, so that clients reconnect to the next process.
func (ws *WebSocket) Close() error { return ws.melody.Close() }

func (ws *WebSocket) connected(s *melody.Session) {
	state := watcherOf(s)
	go func() {
		err := follow(state.ctx, ws.log, state.name, state.after, state.final, &socketSink{session: s, state: state})
		if err != nil || !errors.Is(state.ctx.Err(), context.Canceled) { // else it has been closed
			_ = s.Close()
		}
	}()
}

func watcherOf(s *melody.Session) *watcher {
	state, _ := s.MustGet(sessionKey).(*watcher)
	return state
}

func (w *watcher) giveBack() {
	select {
	case <-w.tickets:
	default:
	}
}

type socketSink struct {
	session *melody.Session
	state   *watcher
}

func (s *socketSink) send(ctx context.Context, events []contract.Event) error {
	for _, event := range events {
		frame, err := json.Marshal(event)
		if err != nil {
			return err
		}
		select {
		case s.state.tickets <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := s.session.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// idle does nothing: melody pings by itself.
func (s *socketSink) idle() error {
	if s.session.IsClosed() {
		return errors.New("session closed")
	}
	return nil
}

// sameOrigin lets non-browser clients in (they send no Origin) and refuses pages of other sites.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}
