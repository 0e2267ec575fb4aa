package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/vibeflow/vibeflow/contract"
)

// SSE serves a stream as server-sent events: `id` is the seq, `event` the type, `data` the whole event. It ends with an
// `end` event once the stream's resource can change no more. A browser that reconnects sends Last-Event-ID.
func SSE(w http.ResponseWriter, r *http.Request, log Log, name string, after int64, final Final) error {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		if seq, err := strconv.ParseInt(id, 10, 64); err == nil && seq > after {
			after = seq
		}
	}
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	out := &sseSink{w: w, flush: http.NewResponseController(w).Flush}
	if err := out.idle(); err != nil {
		return nil
	}
	if err := follow(r.Context(), log, name, after, final, out); err != nil {
		return nil // the watcher left, or will come back with its last id: the status is long sent
	}
	if r.Context().Err() == nil {
		_, _ = fmt.Fprint(w, "event: end\ndata: {}\n\n")
		_ = out.flush()
	}
	return nil
}

type sseSink struct {
	w     http.ResponseWriter
	flush func() error
}

func (s *sseSink) send(_ context.Context, events []contract.Event) error {
	var page bytes.Buffer
	for _, event := range events {
		data, err := json.Marshal(event)
		if err != nil {
			return err
		}
		fmt.Fprintf(&page, "id: %d\nevent: %s\ndata: %s\n\n", event.Seq, event.Type, data)
	}
	if _, err := s.w.Write(page.Bytes()); err != nil {
		return err
	}
	return s.flush()
}

func (s *sseSink) idle() error {
	if _, err := fmt.Fprint(s.w, ": still here\n\n"); err != nil {
		return err
	}
	return s.flush()
}
