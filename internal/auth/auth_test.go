package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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

func TestLinkOpensOnceAndOnlyInTime(t *testing.T) {
	s := NewSessions([]byte(strings.Repeat("k", 32)))
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s.now = func() time.Time { return clock }

	code, _ := s.Link()
	token, err := s.Redeem(code)
	require.NoError(t, err)
	require.NoError(t, s.Check(token))
	_, err = s.Redeem(code)
	require.Equal(t, contract.CodeUnauthenticated, contract.CodeOf(err), "a code opens once")

	late, _ := s.Link()
	clock = clock.Add(LinkLife + time.Second)
	_, err = s.Redeem(late)
	require.Error(t, err, "a code grows old")

	clock = clock.Add(SessionLife)
	require.Error(t, s.Check(token), "a session ends")
}

func TestSessionOfAnotherKeyIsRefused(t *testing.T) {
	ours, theirs := NewSessions([]byte(strings.Repeat("a", 32))), NewSessions([]byte(strings.Repeat("b", 32)))
	code, _ := theirs.Link()
	token, err := theirs.Redeem(code)
	require.NoError(t, err)
	require.Error(t, ours.Check(token))
	require.Error(t, ours.Check(""))
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
