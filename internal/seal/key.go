package seal

import (
	"errors"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"golang.org/x/crypto/chacha20poly1305"
)

// Overhead is how many bytes a sealed value is longer than what it holds: a version, a nonce and a tag.
const Overhead = 1 + chacha20poly1305.NonceSizeX + chacha20poly1305.Overhead

const valueVersion = 1

// ErrChanged is what Open returns for a value that was changed, cut, moved to another place or sealed under another key.
var ErrChanged = errors.New("the sealed value was changed, or belongs elsewhere")

// Key seals values. It is safe for concurrent use.
type Key struct{ aead *subtle.XChaCha20Poly1305 }

// NewKey takes a key of KeyBytes.
func NewKey(raw []byte) (*Key, error) {
	aead, err := subtle.NewXChaCha20Poly1305(raw)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Seal encrypts a value for its place, which is whatever names it: Open needs the same.
func (k *Key) Seal(value []byte, place ...string) ([]byte, error) {
	sealed, err := k.aead.Encrypt(value, boundTo(place))
	if err != nil {
		return nil, err
	}
	return append([]byte{valueVersion}, sealed...), nil
}

// Open returns what Seal was given, or ErrChanged.
func (k *Key) Open(sealed []byte, place ...string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != valueVersion {
		return nil, ErrChanged
	}
	value, err := k.aead.Decrypt(sealed[1:], boundTo(place))
	if err != nil {
		return nil, ErrChanged // the cause says no more
	}
	return value, nil
}

// boundTo joins the parts of a place; none of them holds a NUL.
func boundTo(place []string) []byte { return []byte(strings.Join(place, "\x00")) }
