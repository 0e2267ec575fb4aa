package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	sessionIssuer   = "vibeflow"
	sessionAudience = "browser"
	// SessionLife is how long a browser stays signed in.
	SessionLife = 12 * time.Hour
	// LinkLife is how long a one-time link may wait to be opened.
	LinkLife = 5 * time.Minute
)

// Sessions signs browsers in: Link hands out a one-time code, Redeem turns it into a session token, Check tells a valid
// token. Codes live in memory only, so a restart voids them.
type Sessions struct {
	key []byte
	now func() time.Time

	mu    sync.Mutex
	codes map[string]time.Time
}

// NewSessions uses key (≥ 32 bytes) to sign tokens.
func NewSessions(key []byte) *Sessions {
	return &Sessions{key: key, now: time.Now, codes: map[string]time.Time{}}
}

// Link returns a code that Redeem takes once within LinkLife.
func (s *Sessions) Link() (code string, expires time.Time) {
	var raw [24]byte
	_, _ = rand.Read(raw[:])
	code = hex.EncodeToString(raw[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for c, end := range s.codes {
		if now.After(end) {
			delete(s.codes, c)
		}
	}
	expires = now.Add(LinkLife)
	s.codes[code] = expires
	return code, expires
}

// Redeem exchanges a code for a session token; CodeUnauthenticated when it is unknown, used or too old.
func (s *Sessions) Redeem(code string) (token string, err error) {
	s.mu.Lock()
	expires, known := s.codes[code]
	delete(s.codes, code)
	s.mu.Unlock()
	if !known || s.now().After(expires) {
		return "", contract.Errorf(contract.CodeUnauthenticated, "this sign-in link was used already or is too old").
			Mend("make a new one with `vibeflow open`")
	}
	claims := jwt.RegisteredClaims{
		Issuer: sessionIssuer, Audience: jwt.ClaimStrings{sessionAudience}, Subject: "owner",
		IssuedAt: jwt.NewNumericDate(s.now()), ExpiresAt: jwt.NewNumericDate(s.now().Add(SessionLife)),
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(s.key)
}

// Check returns nil for a session token that is ours and still good.
func (s *Sessions) Check(token string) error {
	_, err := jwt.ParseWithClaims(token, &jwt.RegisteredClaims{},
		func(*jwt.Token) (any, error) { return s.key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(sessionIssuer), jwt.WithAudience(sessionAudience),
		jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.now))
	if err != nil {
		return contract.Errorf(contract.CodeUnauthenticated, "the session has ended").Mend("sign in again with `vibeflow open`")
	}
	return nil
}

// SameToken compares two bearer tokens in constant time; an empty wanted token matches nothing.
func SameToken(given, wanted string) bool {
	return wanted != "" && subtle.ConstantTimeCompare([]byte(given), []byte(wanted)) == 1
}
