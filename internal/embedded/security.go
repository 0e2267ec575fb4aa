package embedded

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/rpc/encryption"
)

// healthCheck is the one call that tells nothing and is open to all.
const healthCheck = "/grpc.health.v1.Health/Check"

// gate lets a caller do everything or nothing: who knows the token is the owner, or a process of his. It is both
// Temporal's claim mapper and its authorizer. The internal frontend has a claim mapper of its own, by Temporal's
// design, and shares the authorizer.
type gate struct{ want []byte }

var (
	_ authorization.ClaimMapper = gate{}
	_ authorization.Authorizer  = gate{}
)

func newGate(token string) gate { return gate{want: []byte("Bearer " + token)} }

// GetClaims maps the right token to every right, anything else to none. Temporal does not call it without a token.
func (g gate) GetClaims(info *authorization.AuthInfo) (*authorization.Claims, error) {
	if subtle.ConstantTimeCompare([]byte(info.AuthToken), g.want) != 1 {
		return nil, nil
	}
	return &authorization.Claims{Subject: "vibeflow", System: authorization.RoleAdmin}, nil
}

// Authorize allows callers with claims. Unlike Temporal's default it has no public calls beside the health check.
func (g gate) Authorize(_ context.Context, claims *authorization.Claims, target *authorization.CallTarget) (authorization.Result, error) {
	if target.APIName == healthCheck || claims != nil && claims.System == authorization.RoleAdmin {
		return authorization.Result{Decision: authorization.DecisionAllow}, nil
	}
	return authorization.Result{Decision: authorization.DecisionDeny, Reason: "the data folder's Temporal token is needed"}, nil
}

// internodeTLS makes Temporal's services talk to each other over mutual TLS. Both ends are this process: certificate
// and key exist in its memory only, so no other process can speak to history, matching or the internal frontend.
type internodeTLS struct{ server, client *tls.Config }

var _ encryption.TLSConfigProvider = internodeTLS{}

const internodeName = "vibeflow-temporal"

func newInternodeTLS() (internodeTLS, error) {
	certificate, err := selfSigned()
	if err != nil {
		return internodeTLS{}, err
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certificate.Leaf)
	return internodeTLS{
		server: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    trusted,
		},
		client: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{certificate},
			RootCAs:      trusted,
			ServerName:   internodeName,
		},
	}, nil
}

func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: internodeName},
		DNSNames:     []string{internodeName},
		NotBefore:    now.Add(-24 * time.Hour), // a clock that is set back meanwhile
		NotAfter:     now.AddDate(100, 0, 0),   // dies with the process
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},

		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// GetInternodeServerConfig secures history, matching, worker and the internal frontend.
func (t internodeTLS) GetInternodeServerConfig() (*tls.Config, error) { return t.server, nil }

// GetInternodeClientConfig is for calls to those.
func (t internodeTLS) GetInternodeClientConfig() (*tls.Config, error) { return t.client, nil }

// GetFrontendServerConfig leaves the frontend plain: it listens on loopback and wants the token.
func (t internodeTLS) GetFrontendServerConfig() (*tls.Config, error) { return nil, nil }

// GetFrontendClientConfig matches GetFrontendServerConfig.
func (t internodeTLS) GetFrontendClientConfig() (*tls.Config, error) { return nil, nil }

// GetRemoteClusterClientConfig is for other clusters, of which there are none.
func (t internodeTLS) GetRemoteClusterClientConfig(string) (*tls.Config, error) { return nil, nil }

// GetExpiringCerts reports nothing: the certificate outlives the process.
func (t internodeTLS) GetExpiringCerts(time.Duration) (expiring, expired encryption.CertExpirationMap, err error) {
	return nil, nil, nil
}
