package api

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// A request that starts work may carry an Idempotency-Key, so that it can be repeated when its answer was lost. The key is
// written in the transaction that makes the resource: whatever dies when, one resource is made, and each repetition
// is answered with it.
const (
	idempotencyHeader = "Idempotency-Key"
	replayedHeader    = "Idempotency-Replayed"
)

// takesKey reports whether the document says that an operation takes an Idempotency-Key.
func takesKey(op *openapi3.Operation) bool {
	return op.Parameters.GetByInAndName(openapi3.ParameterInHeader, idempotencyHeader) != nil
}

// idempotent answers a request whose key has been seen, and hands other keys to the store with the request's context.
func (s *Server) idempotent(v *validator) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			r := c.Request()
			key := r.Header.Get(idempotencyHeader)
			if found := v.find(c); key == "" || found.err != nil || !takesKey(found.route.Operation) {
				return next(c)
			}
			request, err := s.requestDigest(c)
			if err != nil {
				return err
			}
			k := store.IdempotencyKey{Owner: keyOwner(auth.PrincipalOf(r.Context())), Key: key, Request: request}
			if !isUpload(r) { // whose digest takes the whole upload
				earlier, err := s.Store.StartedBy(r.Context(), k)
				if err != nil {
					return err
				}
				if earlier != nil {
					return s.repeat(c, k, *earlier)
				}
			}
			setContext(c, store.WithIdempotencyKey(r.Context(), k))
			return s.repeated(c, next(c))
		}
	}
}

// repeated answers a request that another one with its key was faster than.
func (s *Server) repeated(c *echo.Context, err error) error {
	var repeated *store.RepeatedError
	if !errors.As(err, &repeated) {
		return err
	}
	k, _ := store.IdempotencyKeyOf(c.Request().Context())
	return s.repeat(c, k, repeated.Started)
}

// repeat shows what the first request with a key made, as it is now.
func (s *Server) repeat(c *echo.Context, k store.IdempotencyKey, earlier store.Started) error {
	if k.Request != earlier.Request {
		return contract.Errorf(contract.CodeConflict, "this key was used for another request").On(idempotencyHeader).
			Mend("use a new key for each thing that is to be started; repeat a request with all that it said")
	}
	c.Response().Header().Set(replayedHeader, "true")
	err := s.showStarted(c, earlier)
	if contract.CodeOf(err) == contract.CodeNotFound {
		c.Response().Header().Del(replayedHeader)
		return contract.Errorf(contract.CodeConflict, "what the first request with this key started is not there any more").On(idempotencyHeader).
			Mend("use a new key to start it again")
	}
	return err
}

func (s *Server) showStarted(c *echo.Context, earlier store.Started) error {
	switch earlier.Kind {
	case contract.KindDataset:
		return s.showDataset(c, earlier.Status, earlier.ID)
	case contract.KindJob:
		return s.showJob(c, earlier.Status, earlier.ID)
	case contract.KindEvaluation:
		return s.showEvaluation(c, earlier.Status, earlier.ID)
	case contract.KindDeployment:
		return s.showDeployment(c, earlier.Status, earlier.ID)
	case contract.KindExport:
		return s.showExport(c, earlier.Status, earlier.ID)
	case contract.KindPipeline:
		return s.showPipeline(c, earlier.Status, earlier.ID)
	default:
		return s.showModel(c, earlier.Status, earlier.ID)
	}
}

// keyOwner names those who share keys: a user, wherever they signed in, or the holder of the machine's token.
func keyOwner(p auth.Principal) string {
	if p.UserID != "" {
		return "user/" + p.UserID
	}
	return "key/" + p.KeyID
}

// requestDigest stands for what a request asks: its operation and its body, however that is written. Digests of what people
// wrote can be guessed at, so that they are keyed.
func (s *Server) requestDigest(c *echo.Context) (string, error) {
	r := c.Request()
	if isUpload(r) {
		return s.digest(r), nil
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return "", notJSON(err, "")
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	var body any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return "", notJSON(err, "")
	}
	return s.digest(r, body), nil
}

func (s *Server) digest(r *http.Request, parts ...any) string {
	mac := hmac.New(sha256.New, s.SigningKey)
	_ = json.NewEncoder(mac).Encode([]any{"request", r.Method, strings.TrimSuffix(r.URL.Path, "/"), r.URL.Query().Get("project_id"), parts}) // what was JSON: cannot fail
	return hex.EncodeToString(mac.Sum(nil))
}

// asked adds what an upload held to what its key stands for.
func (s *Server) asked(c *echo.Context, parts ...any) ctx {
	ctx := c.Request().Context()
	k, ok := store.IdempotencyKeyOf(ctx)
	if !ok {
		return ctx
	}
	k.Request = s.digest(c.Request(), parts...)
	setContext(c, store.WithIdempotencyKey(ctx, k))
	return c.Request().Context()
}
