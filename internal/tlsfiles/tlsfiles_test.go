package tlsfiles

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// issue writes a self-signed certificate with a serial number, and its key.
func issue(t *testing.T, dir string, serial int64, ends time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "vibeflow"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: ends,
		DNSNames: []string{"vibeflow.example", "*.example"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600))
	return certFile, keyFile
}

// later moves the pair's clock past its next look at the files.
func later(p *Pair) {
	before := p.now
	p.now = func() time.Time { return before().Add(2 * lookEvery) }
}

// serial is of the certificate that a new connection is shown.
func serial(t *testing.T, server *httptest.Server) int64 {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // self-signed
	defer client.CloseIdleConnections()
	res, err := client.Get(server.URL)
	require.NoError(t, err)
	defer func() { require.NoError(t, res.Body.Close()) }()
	_, _ = io.Copy(io.Discard, res.Body)
	require.Equal(t, 2, res.ProtoMajor)
	return res.TLS.PeerCertificates[0].SerialNumber.Int64()
}

func TestARenewedCertificateIsTaken(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := issue(t, dir, 1, time.Now().Add(time.Hour))
	p, err := Load(certFile, keyFile)
	require.NoError(t, err)
	require.Equal(t, []string{"vibeflow.example", "127.0.0.1"}, p.Names())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := &httptest.Server{Listener: tls.NewListener(listener, p.Config()), Config: &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	server.Start()
	defer server.Close()
	server.URL = "https://" + listener.Addr().String()
	require.EqualValues(t, 1, serial(t, server))

	issue(t, dir, 2, time.Now().Add(2*time.Hour))
	require.EqualValues(t, 1, serial(t, server), "the files are not looked at for every connection")
	later(p)
	require.EqualValues(t, 2, serial(t, server))

	require.NoError(t, os.WriteFile(certFile, []byte("half a certif"), 0o600))
	later(p)
	require.EqualValues(t, 2, serial(t, server), "the one before, while a renewal is half written")
	issue(t, dir, 3, time.Now().Add(3*time.Hour))
	later(p)
	require.EqualValues(t, 3, serial(t, server))
}

func TestWhatCannotBeServedWithIsRefused(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := issue(t, dir, 1, time.Now().Add(time.Hour))
	other, _ := issue(t, t.TempDir(), 2, time.Now().Add(time.Hour))
	ended, endedKey := issue(t, t.TempDir(), 3, time.Now().Add(-time.Minute))
	for name, files := range map[string][2]string{"no certificate": {filepath.Join(dir, "none"), keyFile}, "no key": {certFile, filepath.Join(dir, "none")},
		"the key as certificate": {keyFile, keyFile}, "another's key": {other, keyFile}, "one that has ended": {ended, endedKey}} {
		_, err := Load(files[0], files[1])
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), name)
		require.NotEmpty(t, err.(*contract.Error).Remedy, name)
	}
}
