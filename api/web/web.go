// Package web serves the web app's built files: pages under their own names, compressed siblings where the browser takes
// them, names with a hash in them for ever, everything else by its ETag. Each page has a content security policy without
// 'unsafe-inline': the scripts that stand in it are allowed by their hashes, taken once at the start.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

const (
	hashedPrefix  = "_next/static/"
	serviceWorker = "sw.js"
	forever       = "public, max-age=31536000, immutable"
	ask           = "no-cache"
)

// Site serves one build of the app. It is safe for concurrent use.
type Site struct {
	files   map[string]*file
	missing *file
}

type file struct {
	body, brotli, gzip []byte
	etag, kind, caches string
	policy             string // of a page or the service worker
}

// notBuilt is what a server says whose binary was linked without the app.
const notBuilt = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>VibeFlow</title>
<h1>VibeFlow is running</h1>
<p>This binary was built without the web app. Build it with <code>go tool task build</code> (it needs Node.js 20 or newer), and start VibeFlow again.</p>
<p>Everything else is here: <code>vibeflow run FILE</code>, <a href="/api/openapi.yaml">the API</a>, and <a href="/temporal/">every run in Temporal's own UI</a>.</p></html>`

// New reads a build; nil is none.
func New(build fs.FS) (*Site, error) {
	if build == nil {
		build = embed.FS{}
	}
	s := &Site{files: map[string]*file{}}
	err := fs.WalkDir(build, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(build, name)
		if err != nil {
			return err
		}
		s.add(name, body)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if s.files["index.html"].isPage() {
		s.missing = s.files["404.html"]
		return s, nil
	}
	s.files = map[string]*file{}
	s.add("index.html", []byte(notBuilt))
	return s, nil
}

func (f *file) isPage() bool { return f != nil && strings.HasPrefix(f.kind, "text/html") }

// add takes a file in; a compressed sibling is kept with its original, whichever comes first.
func (s *Site) add(name string, body []byte) {
	switch path.Ext(name) {
	case ".br":
		s.entry(strings.TrimSuffix(name, ".br")).brotli = body
		return
	case ".gz":
		s.entry(strings.TrimSuffix(name, ".gz")).gzip = body
		return
	}
	f := s.entry(name)
	sum := sha256.Sum256(body)
	f.body, f.etag, f.kind, f.caches = body, hex.EncodeToString(sum[:12]), kindOf(name), ask
	if strings.HasPrefix(name, hashedPrefix) {
		f.caches = forever
	}
	switch {
	case path.Ext(name) == ".html":
		f.policy = policyFor(body)
	case name == serviceWorker:
		f.policy = workerPolicy
	}
}

func (s *Site) entry(name string) *file {
	if s.files[name] == nil {
		s.files[name] = &file{}
	}
	return s.files[name]
}

// kindOf does not ask the system's table alone: a machine without one would serve scripts that no browser runs.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".woff2":
		return "font/woff2"
	case ".webmanifest":
		return "application/manifest+json"
	}
	if kind := mime.TypeByExtension(path.Ext(name)); kind != "" {
		return kind
	}
	return "application/octet-stream"
}

// Serve answers a GET or HEAD of a path outside the API; ok is false when the app has nothing by that name and no page
// to say so.
func (s *Site) Serve(w http.ResponseWriter, r *http.Request) (ok bool) {
	f, status := s.find(r.URL.Path)
	if f == nil {
		return false
	}
	f.write(w, r, status)
	return true
}

// Has reports whether the app answers a path with something of its own.
func (s *Site) Has(urlPath string) bool {
	_, status := s.find(urlPath)
	return status == http.StatusOK
}

// find maps /job to job.html, as the export names its pages.
func (s *Site) find(urlPath string) (*file, int) {
	name := strings.Trim(path.Clean("/"+urlPath), "/")
	if name == "" {
		name = "index"
	}
	for _, candidate := range []string{name, name + ".html"} {
		if f := s.files[candidate]; f != nil && f.body != nil {
			return f, http.StatusOK
		}
	}
	return s.missing, http.StatusNotFound
}

func (f *file) write(w http.ResponseWriter, r *http.Request, status int) {
	header := w.Header()
	body, encoding := f.encoded(r.Header.Get("Accept-Encoding"))
	etag := `"` + f.etag + `"`
	if encoding != "" {
		header.Set("Content-Encoding", encoding)
		etag = `"` + f.etag + "-" + encoding + `"`
	}
	header.Set("Content-Type", f.kind)
	header.Set("Cache-Control", f.caches)
	header.Set("Vary", "Accept-Encoding")
	header.Set("ETag", etag)
	if f.policy != "" {
		header.Set("Content-Security-Policy", f.policy)
	}
	if status == http.StatusOK && encoding == "" {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body)) // ranges, for what is not compressed
		return
	}
	if status == http.StatusOK && strings.Contains(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// encoded picks the smallest form that the browser takes.
func (f *file) encoded(accepts string) (body []byte, encoding string) {
	switch {
	case f.brotli != nil && accepted(accepts, "br"):
		return f.brotli, "br"
	case f.gzip != nil && accepted(accepts, "gzip"):
		return f.gzip, "gzip"
	default:
		return f.body, ""
	}
}

func accepted(accepts, encoding string) bool {
	for part := range strings.SplitSeq(accepts, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if strings.TrimSpace(name) == encoding {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
