package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// certificate writes the certificate that httptest brings (for example.com and 127.0.0.1), and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600))
	return certFile, keyFile
}

// parsed are flags as a command line gives them.
func parsed(t *testing.T, args ...string) (*serverFlags, error) {
	t.Helper()
	var flags serverFlags
	cmd := &cobra.Command{}
	flags.add(cmd)
	require.NoError(t, cmd.ParseFlags(args))
	return &flags, flags.check()
}

func TestListeningBeyondLoopbackNeedsTLSOrAFlag(t *testing.T) {
	certFile, keyFile := certificate(t)
	for _, args := range [][]string{{}, {"--listen", "127.0.0.1:9000"}, {"--listen", "[::1]:9000"}, {"--listen", "localhost:9000"},
		{"--listen", "0.0.0.0:9000", "--insecure-expose"}, {"--listen", "0.0.0.0:9000", "--tls-cert", certFile, "--tls-key", keyFile}} {
		_, err := parsed(t, args...)
		require.NoError(t, err, args)
	}
	for field, args := range map[string][]string{
		"listen":          {"--listen", "0.0.0.0:9000"},
		"tls-cert":        {"--tls-cert", certFile},
		"tls-key":         {"--tls-cert", certFile, "--tls-key", keyFile + ".none"},
		"local-listen":    {"--local-listen", "127.0.0.1:1"},
		"insecure-expose": {"--insecure-expose", "--tls-cert", certFile, "--tls-key", keyFile},
	} {
		_, err := parsed(t, args...)
		var typed *contract.Error
		require.ErrorAs(t, err, &typed, field)
		require.Equal(t, []any{contract.CodeInvalid, field}, []any{typed.Code, typed.Field})
		require.NotEmpty(t, typed.Remedy, field)
	}
	_, err := parsed(t, "--tls-cert", certFile, "--tls-key", keyFile, "--local-listen", "0.0.0.0:9000")
	require.Error(t, err, "the machine's own address is in plain HTTP")
}

func TestTLSForOthersAndPlainForTheMachine(t *testing.T) {
	certFile, keyFile := certificate(t)
	flags, err := parsed(t, "--listen", "127.0.0.1:8400", "--tls-cert", certFile, "--tls-key", keyFile)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:8401", flags.local)
	require.Equal(t, "https://example.com:8400", flags.publicURL())
	require.Contains(t, flags.names(), "example.com", "whom the certificate names is no stranger")
	again, err := parsed(t, append(flags.args(), "--listen", flags.listen)...)
	require.NoError(t, err)
	require.Equal(t, flags.local, again.local, "as `up` hands them on")

	flags.listen, flags.local = "127.0.0.1:0", "127.0.0.1:0"
	doors, err := flags.openDoors()
	require.NoError(t, err)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })}
	defer func() { require.NoError(t, server.Close()) }()
	for _, door := range doors.all() {
		go func() { _ = server.Serve(door) }()
	}
	get := func(url string) string {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // a test's own
		defer client.CloseIdleConnections()
		res, err := client.Get(url)
		require.NoError(t, err)
		defer func() { require.NoError(t, res.Body.Close()) }()
		said, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(said)
	}
	at := doors.endpoints()
	require.Equal(t, "HTTP/1.1", get(at.Server))
	require.Equal(t, "HTTP/2.0", get(at.Public))
}
