package gateway

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	tokenIssuer   = "vibeflow"
	tokenAudience = "run"
	// tokenLife only bounds what a leaked token is good for: a launch's end is its epoch's. A worker whose token has run
	// out adopts its epoch again.
	tokenLife = 30 * 24 * time.Hour
)

// runClaims binds a token to one launch: nonce is the run's row's, so that a token from a database that was since
// replaced by a backup is good for nothing.
type runClaims struct {
	jwt.RegisteredClaims
	Run   string `json:"run"`
	Epoch int64  `json:"epoch"`
	Nonce string `json:"nonce"`
}

type tokens struct {
	key    []byte
	parser *jwt.Parser
}

func newTokens(master []byte) (tokens, error) {
	key, err := hkdf.Key(sha256.New, master, nil, "vibeflow gateway run token", sha256.Size)
	if err != nil {
		return tokens{}, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience), jwt.WithExpirationRequired())
	return tokens{key: key, parser: parser}, nil
}

func (t tokens) sign(run store.Run) (string, error) {
	now := time.Now()
	claims := runClaims{Run: run.RunID, Epoch: run.Epoch, Nonce: run.Nonce, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: tokenIssuer, Audience: jwt.ClaimStrings{tokenAudience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(tokenLife))}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(t.key)
	if err != nil {
		return "", fmt.Errorf("sign a run token: %w", err)
	}
	return token, nil
}

func (t tokens) verify(token string) (store.Fence, error) {
	var claims runClaims
	_, err := t.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return t.key, nil })
	if err != nil || claims.Run == "" || claims.Nonce == "" {
		return store.Fence{}, contract.Errorf(contract.CodeUnauthenticated, "this needs the token of a launch").
			Mend("claim the run, or adopt its epoch")
	}
	return store.Fence{RunID: claims.Run, Epoch: claims.Epoch, Nonce: claims.Nonce}, nil
}

func newNonce() string { return rand.Text() }
