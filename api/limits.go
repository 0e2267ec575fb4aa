package api

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/limit"
)

// Limits are how often a user, a key, and an address that is not signed in may ask. The zero value limits nobody.
type Limits struct{ User, Key, Address limit.Rule }

// DefaultLimits are generous to people and programs, and stop a loop that went wild.
func DefaultLimits() Limits {
	return Limits{User: limit.Rule{PerSecond: 50, Burst: 300}, Key: limit.Rule{PerSecond: 50, Burst: 200}, Address: limit.Rule{PerSecond: 10, Burst: 60}}
}

// limits are the buckets. The data folder's token is not limited: who has it can stop the server.
type limits struct{ user, key, address *limit.Keyed }

func newLimits(l Limits) limits {
	return limits{user: limit.New(l.User), key: limit.New(l.Key), address: limit.New(l.Address)}
}

// take takes one request from whoever asks, says in the answer's headers what is left, and refuses (rate_limited) if
// nothing is.
func (l limits) take(c *echo.Context, p auth.Principal) error {
	var d limit.Decision
	switch {
	case p.By == auth.ByToken:
		return nil
	case p.By == auth.ByKey:
		d = l.key.Take(p.KeyID)
		if d.Allowed && p.UserID != "" { // so that more keys are no way around it; the maker's own requests are counted apart
			d = d.And(l.user.Take("keys of " + p.UserID))
		}
	case p.By == auth.BySession && p.UserID != "":
		d = l.user.Take(p.UserID)
	case p.By == auth.BySession:
		d = l.user.Take(p.SessionID)
	default:
		d = l.address.Take(limit.Address(c.RealIP()))
	}
	if d.Limit == 0 {
		return nil
	}
	header := c.Response().Header()
	header.Set("RateLimit-Limit", strconv.Itoa(d.Limit))
	header.Set("RateLimit-Remaining", strconv.Itoa(d.Remaining))
	header.Set("RateLimit-Reset", strconv.Itoa(int((d.Reset+time.Second-1)/time.Second)))
	if !d.Allowed {
		return limit.Refuse(d.Wait)
	}
	return nil
}

// sayWait says when to come again, if the error does.
func sayWait(c *echo.Context, err error) {
	var early *limit.Error
	if errors.As(err, &early) {
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(limit.Seconds(early.Wait)))
	}
}

// defaultBodyTime is how long a JSON request may take to arrive, and how long an upload may stand still.
const defaultBodyTime = 30 * time.Second

// limitBody bounds what a JSON request may send, and how long any request may take to send it: a client that drips must
// not hold a connection for ever.
func (s *Server) limitBody(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c *echo.Context) error {
		r := c.Request()
		if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
			return next(c)
		}
		r.Body = &timedBody{ReadCloser: r.Body, header: c.Response().Header(), control: http.NewResponseController(c.Response()), time: s.BodyTime, moving: isUpload(r)}
		if !isUpload(r) {
			r.Body = http.MaxBytesReader(c.Response(), r.Body, maxBody)
		}
		return next(c)
	}
}

// timedBody sets a deadline for reading a request: one for the whole, or, with moving, one for each read. Once the body
// has ended there is none: a deadline that passes while a handler works would cancel its request.
type timedBody struct {
	io.ReadCloser
	header  http.Header
	control *http.ResponseController
	time    time.Duration
	moving  bool
	began   bool
}

// Read implements io.Reader.
func (b *timedBody) Read(p []byte) (int, error) {
	if !b.began || b.moving {
		b.began = true
		_ = b.control.SetReadDeadline(time.Now().Add(b.time)) // a recorder in a test has none
	}
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.header.Set("Connection", "close") // what may still come belongs to this request
		err = contract.Errorf(contract.CodeInvalid, "the request did not arrive within %s", b.time).Mend("send it again, over a better connection")
	}
	return n, err
}

// sharing lets pages of the named origins read answers (CORS). They bring tokens of their own: cookies are for our pages.
func (s *Server) sharing() echo.MiddlewareFunc {
	if len(s.Origins) == 0 {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	return middleware.CORSWithConfig(middleware.CORSConfig{
		AllowOrigins: s.Origins,
		AllowMethods: []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowHeaders: []string{"Authorization", "Content-Type", "If-Match", "If-None-Match", "Idempotency-Key", "Last-Event-ID", "Range"},
		ExposeHeaders: []string{"ETag", "Content-Range", "Location", "Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
			echo.HeaderXRequestID},
		MaxAge: 600,
	})
}

// sharedWith reports whether a request comes from a page of an origin that may read answers.
func (s *Server) sharedWith(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	for _, allowed := range s.Origins {
		if strings.EqualFold(origin, allowed) {
			return true
		}
	}
	return false
}

// clientAddress is where a request comes from: as the trusted proxies say, else who has connected.
func clientAddress(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	within := func(text string) bool {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return false
		}
		for _, proxy := range trusted {
			if proxy.Contains(addr.Unmap()) {
				return true
			}
		}
		return false
	}
	direct := echo.ExtractIPDirect()
	return func(r *http.Request) string {
		address := direct(r)
		hops := strings.Split(strings.Join(r.Header.Values(echo.HeaderXForwardedFor), ","), ",")
		for i := len(hops) - 1; i >= 0 && within(address); i-- {
			hop := strings.TrimSpace(hops[i])
			if _, err := netip.ParseAddr(hop); err != nil {
				break
			}
			address = hop
		}
		return address
	}
}
