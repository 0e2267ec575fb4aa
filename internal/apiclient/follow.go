package apiclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// ErrStop ends Follow without an error.
var ErrStop = errors.New("stop following")

const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
	// silence is how long a server that says something every 15 s may be quiet before the connection counts as dead.
	silence = 45 * time.Second
	// maxEventBytes bounds one event's line; a profile is the largest.
	maxEventBytes = 16 << 20
)

// Follow calls handle for every event of a stream after `after`, once and in order, across restarts of the server and
// cuts of the connection, until the server ends the stream, handle returns ErrStop (nil is returned) or another error,
// or ctx ends. lost is told of every broken connection; it may be nil.
func (c *Client) Follow(ctx context.Context, path string, after int64, handle func(contract.Event) error, lost func(error)) error {
	wait := firstRetry
	for {
		before := after
		ended, err := c.followOnce(ctx, path, &after, handle)
		switch {
		case errors.Is(err, ErrStop):
			return nil
		case ended || refused(err) || isHandleErr(err):
			return unwrapHandle(err)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if after > before {
			wait = firstRetry
		}
		if lost != nil {
			lost(err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, lastRetry)
	}
}

// handleErr marks an error of the caller's own, which a retry would not mend.
type handleErr struct{ error }

func isHandleErr(err error) bool { var h handleErr; return errors.As(err, &h) }

func unwrapHandle(err error) error {
	var h handleErr
	if errors.As(err, &h) {
		return h.error
	}
	return err
}

func refused(err error) bool {
	switch contract.CodeOf(err) {
	case "", contract.CodeInternal, contract.CodeUnavailable:
		return false
	default:
		return true
	}
}

func (c *Client) followOnce(ctx context.Context, path string, after *int64, handle func(contract.Event) error) (ended bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	req, err := c.request(ctx, http.MethodGet, path, url.Values{"after": {strconv.FormatInt(*after, 10)}}, nil)
	if err != nil {
		return false, handleErr{err}
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := c.do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	scanner := bufio.NewScanner(res.Body)
	scanner.Buffer(make([]byte, 64<<10), maxEventBytes)
	for scanner.Scan() {
		dead.Reset(silence)
		line := scanner.Text()
		if line == "event: end" {
			return true, nil
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok {
			continue
		}
		var event contract.Event
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return false, err
		}
		if event.Seq <= *after {
			continue
		}
		dead.Stop() // what the caller does with an event is not the server's silence
		if err := handle(event); err != nil {
			if errors.Is(err, ErrStop) {
				return false, err
			}
			return false, handleErr{err}
		}
		dead.Reset(silence)
		*after = event.Seq
	}
	return false, scanner.Err()
}
