// Package tlsfiles serves TLS with a certificate and key from files, and takes renewed ones without a restart.
package tlsfiles

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

// lookEvery is how often the files are looked at, when somebody connects.
const lookEvery = 5 * time.Second

// Pair is a certificate chain and its key, both PEM. It is safe for concurrent use.
type Pair struct {
	certFile, keyFile string
	now               func() time.Time

	mu     sync.Mutex
	loaded *tls.Certificate
	of     [2]stamp
	looked time.Time
}

// stamp tells one content of a file from the next.
type stamp struct {
	changed time.Time
	size    int64
}

// Load reads the files. What cannot be served with is refused (invalid), with the file at fault.
func Load(certFile, keyFile string) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, now: time.Now}
	for flag, file := range map[string]string{"tls-cert": certFile, "tls-key": keyFile} {
		if _, err := os.ReadFile(file); err != nil { //nolint:gosec // named by who starts the server
			return nil, contract.Errorf(contract.CodeInvalid, "the file %s cannot be read: %w", file, err).On(flag).
				Mend("name a PEM file that this user may read")
		}
	}
	loaded, of, err := p.read()
	if err != nil {
		return nil, contract.Errorf(contract.CodeInvalid, "%s and %s are no certificate with its key: %w", certFile, keyFile, err).On("tls-cert").
			Mend("name a PEM file with the certificate, followed by those that lead to its authority, and the PEM file of its own key")
	}
	if p.now().After(loaded.Leaf.NotAfter) {
		return nil, contract.Errorf(contract.CodeInvalid, "the certificate in %s ended on %s", certFile, loaded.Leaf.NotAfter.Format(time.DateTime)).On("tls-cert").
			Mend("renew it")
	}
	p.loaded, p.of, p.looked = loaded, of, p.now()
	return p, nil
}

func (p *Pair) read() (*tls.Certificate, [2]stamp, error) {
	of, err := p.stamps() // before the content: what changes in between is read again
	if err != nil {
		return nil, of, err
	}
	loaded, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	return &loaded, of, err
}

func (p *Pair) stamps() (of [2]stamp, err error) {
	for i, file := range []string{p.certFile, p.keyFile} {
		var info fs.FileInfo
		if info, err = os.Stat(file); err != nil {
			return of, err
		}
		of[i] = stamp{info.ModTime(), info.Size()}
	}
	return of, nil
}

// Config is for listeners: TLS 1.2 and newer, HTTP/2 and 1.1.
func (p *Pair) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current(), nil }}
}

// current is the newest certificate that could be read: while a renewal is half written, the one before.
func (p *Pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now().Sub(p.looked) < lookEvery {
		return p.loaded
	}
	p.looked = p.now()
	of, err := p.stamps()
	if err == nil && of == p.of {
		return p.loaded
	}
	var loaded *tls.Certificate
	if err == nil {
		loaded, of, err = p.read()
	}
	if err != nil {
		slog.Warn("the renewed TLS certificate cannot be read; the one before is used", "file", p.certFile, "error", err)
		return p.loaded
	}
	slog.Info("the TLS certificate was renewed", "file", p.certFile, "ends", loaded.Leaf.NotAfter)
	p.loaded, p.of = loaded, of
	return p.loaded
}

// Names are the hosts for which the certificate is; a pattern (*.example.com) names none.
func (p *Pair) Names() (names []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range p.loaded.Leaf.DNSNames {
		if name != "" && name[0] != '*' {
			names = append(names, name)
		}
	}
	for _, address := range p.loaded.Leaf.IPAddresses {
		names = append(names, address.String())
	}
	return names
}
