package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// What a batch of events may be.
const (
	maxLines     = 1000
	maxLineBytes = 64 << 10
	maxFiles     = 10_000
	maxPathBytes = 512
)

var (
	digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)
	namePattern   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	linePattern   = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
)

func decodeJSON(body io.Reader, into any) error {
	dec := json.NewDecoder(body)
	err := dec.Decode(into)
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one value")
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return contract.Errorf(contract.CodeTooLarge, "the body is larger than %d bytes: %w", tooLarge.Limit, err).Mend("send less at once")
	}
	return contract.Errorf(contract.CodeInvalid, "the body is not the JSON that is expected here: %w", err).On("body")
}

func checkDigest(sha256 string) error {
	if !digestPattern.MatchString(sha256) {
		return contract.Errorf(contract.CodeInvalid, "a digest is a sha256 in lower-case hexadecimal").On("sha256")
	}
	return nil
}

// runnerLine is what the gateway itself reads of a line.
type runnerLine struct {
	N    int64     `json:"n"`
	Type string    `json:"type"`
	At   time.Time `json:"at"`
}

// decodeBatch checks a batch and makes events of it. The whole batch is refused if a line of it cannot be taken: lines
// after it could never be acknowledged.
func decodeBatch(b contract.EventBatch) ([]contract.NewEvent, error) {
	switch {
	case b.First < 1 || len(b.Lines) == 0:
		return nil, contract.Errorf(contract.CodeInvalid, "a batch begins with line 1 or later and has at least one line").On("first")
	case len(b.Lines) > maxLines:
		return nil, contract.Errorf(contract.CodeTooLarge, "a batch has at most %d lines, this one has %d", maxLines, len(b.Lines)).On("lines").
			Mend("send them in several batches")
	}
	evs := make([]contract.NewEvent, len(b.Lines))
	for i, raw := range b.Lines {
		line, err := decodeLine(raw, b.First+int64(i))
		if err != nil {
			return nil, err
		}
		evs[i] = contract.NewEvent{Type: "runner." + line.Type, Payload: raw, At: line.At}
	}
	return evs, nil
}

func decodeLine(raw json.RawMessage, number int64) (runnerLine, error) {
	var line runnerLine
	if len(raw) > maxLineBytes {
		return line, contract.Errorf(contract.CodeTooLarge, "line %d has %d bytes, the limit is %d", number, len(raw), maxLineBytes).On("lines")
	}
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return line, contract.Errorf(contract.CodeInvalid, "line %d is not a JSON object", number).On("lines")
	}
	if err := json.Unmarshal(raw, &line); err != nil {
		return line, contract.Errorf(contract.CodeInvalid, "line %d cannot be read: %w", number, err).On("lines")
	}
	if line.N != number || !linePattern.MatchString(line.Type) {
		return line, contract.Errorf(contract.CodeInvalid, "line %d calls itself line %d, of type %q", number, line.N, line.Type).On("lines")
	}
	return line, nil
}

// checkManifest checks a manifest that came under a name. Its paths become file names on other workers.
func checkManifest(name string, m contract.Manifest, kinds ...string) error {
	if !namePattern.MatchString(name) || strings.Contains(name, "..") || m.Name != name {
		return contract.Errorf(contract.CodeInvalid, "the manifest is of %q, its address of %q", m.Name, name).On("name")
	}
	known := false
	for _, kind := range kinds {
		known = known || m.Kind == kind
	}
	if !known || m.Step < 0 {
		return contract.Errorf(contract.CodeInvalid, "a manifest of kind %q at step %d is not taken here", m.Kind, m.Step).On("kind")
	}
	if len(m.Files) == 0 || len(m.Files) > maxFiles {
		return contract.Errorf(contract.CodeInvalid, "a manifest lists 1 to %d files, this one %d", maxFiles, len(m.Files)).On("files")
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if !safePath(f.Path) || seen[f.Path] || f.Size < 0 || !digestPattern.MatchString(f.SHA256) {
			return contract.Errorf(contract.CodeInvalid, "the manifest's file %q has a path, size or digest that cannot be", f.Path).On("files")
		}
		seen[f.Path] = true
	}
	return nil
}

// safePath reports whether a path stays below the folder that it is relative to, on every system.
func safePath(p string) bool {
	return p != "" && len(p) <= maxPathBytes && p == path.Clean(p) && p != "." && p != ".." && !path.IsAbs(p) &&
		!strings.HasPrefix(p, "../") && !strings.ContainsAny(p, "\\:\x00")
}

// checkServing checks where an engine says that it answers: the server will call it.
func checkServing(s contract.Serving) error {
	u, err := url.Parse(s.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return contract.Errorf(contract.CodeInvalid, "an engine answers at an http or https URL").On("url")
	}
	if s.Worker == "" || s.Name == "" {
		return contract.Errorf(contract.CodeInvalid, "a report of serving names its worker and the engine's name of the model").On("worker")
	}
	return nil
}
