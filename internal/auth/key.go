// Package auth makes and checks VibeFlow's credentials: passwords, access and refresh tokens, one-time codes, API keys for /v1,
// and the Principal that a request is made by. Storing them is the store's; deciding what one reaches is the api package's.
package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// keyScheme starts every API key, so that secret scanners can recognise one.
const keyScheme = "vf_"

const (
	keySecretBytes  = 20
	keyChecksumLen  = 6
	keyVisibleChars = len(keyScheme) + 6
)

var keyEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// NewKey returns a fresh API key: "vf_" + 32 characters (160 bits) + a 6-character checksum, which lets a mistyped key
// be refused before any look-up.
func NewKey() string {
	var secret [keySecretBytes]byte
	_, _ = rand.Read(secret[:]) // crypto/rand.Read never fails since Go 1.24
	body := keyScheme + keyEncoding.EncodeToString(secret[:])
	return body + checksum(body)
}

// ParseKey refuses what cannot be a key made by NewKey.
func ParseKey(key string) error {
	body, sum, ok := cut(key)
	if !ok || !hmac.Equal([]byte(checksum(body)), []byte(sum)) {
		return contract.Errorf(contract.CodeUnauthenticated, "that is not a VibeFlow API key").
			Mend("make one with `vibeflow keys create NAME`; keys start with %q", keyScheme)
	}
	return nil
}

// KeyPrefix is the part of a key that lists may show, to tell keys apart.
func KeyPrefix(key string) string {
	if len(key) < keyVisibleChars {
		return ""
	}
	return key[:keyVisibleChars]
}

// HashKey is what the store keeps of a key: HMAC-SHA256 under the server's pepper, in hexadecimal.
func HashKey(pepper []byte, key string) string {
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte(key))
	return hex.EncodeToString(mac.Sum(nil))
}

func cut(key string) (body, sum string, ok bool) {
	want := len(keyScheme) + keyEncoding.EncodedLen(keySecretBytes) + keyChecksumLen
	if len(key) != want || !strings.HasPrefix(key, keyScheme) {
		return "", "", false
	}
	return key[:want-keyChecksumLen], key[want-keyChecksumLen:], true
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	raw := []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}
	return keyEncoding.EncodeToString(raw)[:keyChecksumLen]
}
