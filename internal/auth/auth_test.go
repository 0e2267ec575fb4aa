package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/vibeflow/vibeflow/contract"
)

func TestKeyIsAcceptedAndAnyChangedCharacterRefused(t *testing.T) {
	key := NewKey()
	require.NoError(t, ParseKey(key))
	for i := range key {
		changed := key[:i] + swap(key[i]) + key[i+1:]
		require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(ParseKey(changed)), "position %d", i)
	}
	require.Error(t, ParseKey(""))
	require.Error(t, ParseKey(strings.Repeat("a", 4096)))
}

func TestKeyHashDependsOnPepper(t *testing.T) {
	key := NewKey()
	require.Equal(t, HashKey([]byte("p"), key), HashKey([]byte("p"), key))
	require.NotEqual(t, HashKey([]byte("p"), key), HashKey([]byte("q"), key))
	require.True(t, strings.HasPrefix(key, KeyPrefix(key)))
	require.Less(t, len(KeyPrefix(key)), 12)
}

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func tokens(t *testing.T, key string, now func() time.Time) *Tokens {
	t.Helper()
	made, err := NewTokens([]byte(strings.Repeat(key, 32)), now)
	require.NoError(t, err)
	return made
}

func TestAccessTokenIsGoodForItsTime(t *testing.T) {
	clock := start
	ours := tokens(t, "k", func() time.Time { return clock })
	token, expires, err := ours.Access("user_1", "sess_1")
	require.NoError(t, err)
	require.Equal(t, start.Add(AccessLife), expires)
	claims, err := ours.Check(token)
	require.NoError(t, err)
	require.Equal(t, "user_1", claims.Subject)
	require.Equal(t, "sess_1", claims.Session)
	clock = expires.Add(clockSkew + time.Second)
	_, err = ours.Check(token)
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err))
	clock = start.Add(-time.Minute)
	_, err = ours.Check(token)
	require.Error(t, err, "a token from the future")
}

// TestForgedAccessTokens signs what an attacker might, with the right key even, but for one thing.
func TestForgedAccessTokens(t *testing.T) {
	now := func() time.Time { return start }
	ours := tokens(t, "k", now)
	good := func() (Claims, map[string]any) {
		return Claims{Session: "sess_1", RegisteredClaims: jwt.RegisteredClaims{Issuer: issuer, Audience: jwt.ClaimStrings{audience},
			IssuedAt: jwt.NewNumericDate(start), ExpiresAt: jwt.NewNumericDate(start.Add(time.Minute))}}, map[string]any{"kid": ours.keyID}
	}
	sign := func(method jwt.SigningMethod, key any, claims Claims, header map[string]any) string {
		unsigned := jwt.NewWithClaims(method, claims)
		for name, value := range header {
			unsigned.Header[name] = value
		}
		token, err := unsigned.SignedString(key)
		require.NoError(t, err)
		return token
	}
	claims, header := good()
	_, err := ours.Check(sign(jwt.SigningMethodHS256, ours.access, claims, header))
	require.NoError(t, err, "nothing is wrong with this one")

	forged := map[string]func() string{
		"another algorithm": func() string { c, h := good(); return sign(jwt.SigningMethodHS512, ours.access, c, h) },
		"no algorithm": func() string {
			c, h := good()
			return sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, c, h)
		},
		"another key": func() string { c, h := good(); return sign(jwt.SigningMethodHS256, tokens(t, "x", now).access, c, h) },
		"the signing key": func() string {
			c, h := good()
			return sign(jwt.SigningMethodHS256, []byte(strings.Repeat("k", 32)), c, h)
		},
		"no key id": func() string { c, _ := good(); return sign(jwt.SigningMethodHS256, ours.access, c, nil) },
		"another key id": func() string {
			c, _ := good()
			return sign(jwt.SigningMethodHS256, ours.access, c, map[string]any{"kid": "x"})
		},
		"another issuer": func() string { c, h := good(); c.Issuer = "x"; return sign(jwt.SigningMethodHS256, ours.access, c, h) },
		"another audience": func() string {
			c, h := good()
			c.Audience = jwt.ClaimStrings{"run"}
			return sign(jwt.SigningMethodHS256, ours.access, c, h)
		},
		"no end": func() string {
			c, h := good()
			c.ExpiresAt = nil
			return sign(jwt.SigningMethodHS256, ours.access, c, h)
		},
		"no session": func() string { c, h := good(); c.Session = ""; return sign(jwt.SigningMethodHS256, ours.access, c, h) },
		"nothing":    func() string { return "" },
		"dots":       func() string { return ".." },
	}
	for name, make := range forged {
		_, err := ours.Check(make())
		require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err), name)
	}
}

func TestTheNextRefreshTokenFollowsFromTheLast(t *testing.T) {
	now := func() time.Time { return start }
	ours, theirs := tokens(t, "a", now), tokens(t, "b", now)
	first := NewRefresh()
	require.NotEqual(t, first, NewRefresh())
	require.Equal(t, ours.NextRefresh(first), tokens(t, "a", now).NextRefresh(first), "also after a restart")
	require.NotEqual(t, ours.NextRefresh(first), theirs.NextRefresh(first))
	require.NotEqual(t, ours.NextRefresh(first), ours.NextRefresh(ours.NextRefresh(first)))
	require.NotEqual(t, HashRefresh("x"), HashCode("x"))
}

func TestPasswords(t *testing.T) {
	for password, good := range map[string]bool{
		"correct horse": true, strings.Repeat("abcd", 18): true, "пароль-пароль": true,
		"": false, "short": false, "aaaaaaaaaaaaaaa": false, strings.Repeat("abcd", 18) + "e": false, "ada.lovelace": false, "ada.lovelace1": false,
		"ada.lovelace@example.com": false, "not\xffutf8 at all": false,
	} {
		err := CheckPassword(password, "ada.lovelace@example.com")
		require.Equal(t, good, err == nil, "%q: %v", password, err)
		if err != nil {
			require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
		}
	}
	p := NewPasswords(bcrypt.MinCost)
	hash, err := p.Hash(t.Context(), "correct horse")
	require.NoError(t, err)
	for given, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, strings.Repeat("x", 5000): false} {
		same, err := p.Matches(t.Context(), hash, given)
		require.NoError(t, err)
		require.Equal(t, want, same, given)
	}
	same, err := p.Matches(t.Context(), "", "correct horse")
	require.NoError(t, err)
	require.False(t, same, "an account without a password")
	long := strings.Repeat("abcd", 18)
	hash, err = p.Hash(t.Context(), long)
	require.NoError(t, err)
	same, err = p.Matches(t.Context(), hash, long+"more")
	require.NoError(t, err)
	require.False(t, same, "bcrypt would not see the end")
}

func TestEmails(t *testing.T) {
	for given, want := range map[string]string{"a@b.c": "a@b.c", " Ada@Example.COM ": "ada@example.com", "": "", "ada": "", "Ada <a@b.c>": "", "a@b.c\n": "a@b.c",
		"a b@c.d": "", strings.Repeat("a", 251) + "@b.c": ""} {
		got, err := NormalEmail(given)
		require.Equal(t, want, got, "%q: %v", given, err)
		require.Equal(t, want == "", err != nil)
	}
}

func TestSameToken(t *testing.T) {
	require.True(t, SameToken("x", "x"))
	require.False(t, SameToken("x", "y"))
	require.False(t, SameToken("", ""), "no token configured lets nobody in")
}

func swap(c byte) string {
	if c == 'a' {
		return "b"
	}
	return "a"
}
