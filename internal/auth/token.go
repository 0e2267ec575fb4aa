package auth

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	issuer   = "vibeflow"
	audience = "api"
	// AccessLife is how long an access token is good for.
	AccessLife = 15 * time.Minute
	// clockSkew is how far the clock may be set back between signing and checking.
	clockSkew = 5 * time.Second
)

// Claims is what an access token says: who (sub), in which session (sid). What they may do is looked up: a role that was
// taken away, or a session that was ended, counts at once.
type Claims struct {
	jwt.RegisteredClaims
	Session string `json:"sid"`
}

// Tokens signs and checks access tokens, and derives refresh tokens. Its keys are derived from one
// signing key, each for its own use, so that nothing that one of them signs passes for another's.
type Tokens struct {
	access  []byte
	refresh []byte
	keyID   string
	parser  *jwt.Parser
	now     func() time.Time
}

// NewTokens derives the keys; it fails for a signing key of less than 32 bytes.
func NewTokens(signing []byte, now func() time.Time) (*Tokens, error) {
	if len(signing) < sha256.Size {
		return nil, contract.Errorf(contract.CodeInvalidConfig, "the signing key has %d bytes, it needs %d", len(signing), sha256.Size)
	}
	t := &Tokens{now: now}
	for use, key := range map[string]*[]byte{"access token": &t.access, "refresh token": &t.refresh} {
		derived, err := hkdf.Key(sha256.New, signing, nil, "vibeflow "+use, sha256.Size)
		if err != nil {
			return nil, err
		}
		*key = derived
	}
	id := sha256.Sum256(t.access)
	t.keyID = hex.EncodeToString(id[:8])
	t.parser = jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(clockSkew), jwt.WithTimeFunc(now))
	return t, nil
}

// Access signs an access token for a session. userID is empty for the machine's owner.
func (t *Tokens) Access(userID, sessionID string) (token string, expires time.Time, err error) {
	now := t.now()
	expires = now.Add(AccessLife)
	unsigned := jwt.NewWithClaims(jwt.SigningMethodHS256, Claims{Session: sessionID, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Audience: jwt.ClaimStrings{audience}, Subject: userID,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires)}})
	unsigned.Header["kid"] = t.keyID
	token, err = unsigned.SignedString(t.access)
	return token, expires, err
}

// Check returns the claims of an access token that is ours and still good, else unauthenticated.
func (t *Tokens) Check(token string) (*Claims, error) {
	var claims Claims
	_, err := t.parser.ParseWithClaims(token, &claims, func(parsed *jwt.Token) (any, error) {
		if parsed.Header["kid"] != t.keyID {
			return nil, fmt.Errorf("the token was signed with another key")
		}
		return t.access, nil
	})
	if err != nil || claims.Session == "" {
		return nil, contract.Errorf(contract.CodeUnauthenticated, "the access token is not good, or not any more").
			Mend("refresh it (POST /api/auth/refresh), or sign in again")
	}
	return &claims, nil
}

// LooksLikeAccess tells an access token from other bearer tokens, good or not.
func LooksLikeAccess(token string) bool { return strings.Count(token, ".") == 2 }

const secretBytes = 32

// NewRefresh returns the first refresh token of a family: 256 random bits.
func NewRefresh() string { return random() }

// NextRefresh returns the token that follows another one. It follows from it, so that an exchange that is made again
// gives the same answer; nobody without the server's key can compute it.
func (t *Tokens) NextRefresh(token string) string {
	mac := hmac.New(sha256.New, t.refresh)
	mac.Write([]byte(token))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// HashRefresh is what the store keeps of a refresh token. The token has 256 bits that nobody chose: a plain hash does.
func HashRefresh(token string) string {
	sum := sha256.Sum256([]byte("refresh\x00" + token))
	return hex.EncodeToString(sum[:])
}

// NewCode returns a one-time code, for a link.
func NewCode() string { return random() }

// HashCode is what the store keeps of a one-time code.
func HashCode(code string) string {
	sum := sha256.Sum256([]byte("code\x00" + code))
	return hex.EncodeToString(sum[:])
}

func random() string {
	var secret [secretBytes]byte
	_, _ = rand.Read(secret[:]) // crypto/rand.Read never fails since Go 1.24
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// SameToken compares two bearer tokens in constant time; an empty wanted token matches nothing.
func SameToken(given, wanted string) bool {
	return wanted != "" && subtle.ConstantTimeCompare([]byte(given), []byte(wanted)) == 1
}
