package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"

	"golang.org/x/crypto/chacha20poly1305"
)

// A sealed value is a version, a nonce, the ciphertext and its tag.
const (
	valueVersion = 1
	headBytes    = 1 + chacha20poly1305.NonceSizeX

	// Overhead is how many bytes a sealed value is longer than what it holds.
	Overhead = headBytes + chacha20poly1305.Overhead
)

// ErrChanged is what Open returns for a value that was changed, cut, moved to another place or sealed under another key.
var ErrChanged = errors.New("the sealed value was changed, or belongs elsewhere")

// Key seals values. It is safe for concurrent use.
type Key struct{ aead cipher.AEAD }

// NewKey takes a key of KeyBytes.
func NewKey(raw []byte) (*Key, error) {
	aead, err := chacha20poly1305.NewX(raw)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Seal encrypts a value for its place, which is whatever names it: Open needs the same.
func (k *Key) Seal(value []byte, place ...string) []byte {
	sealed := make([]byte, headBytes, len(value)+Overhead)
	sealed[0] = valueVersion
	_, _ = rand.Read(sealed[1:]) // crypto/rand.Read never fails since Go 1.24
	return k.aead.Seal(sealed, sealed[1:], value, boundTo(place))
}

// Open returns what Seal was given, or ErrChanged.
func (k *Key) Open(sealed []byte, place ...string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != valueVersion {
		return nil, ErrChanged
	}
	value, err := k.aead.Open(nil, sealed[1:headBytes], sealed[headBytes:], boundTo(place))
	if err != nil {
		return nil, ErrChanged // the cause says no more
	}
	return value, nil
}

// boundTo joins the parts of a place; none of them holds a NUL.
func boundTo(place []string) []byte {
	var joined []byte
	for _, part := range place {
		joined = append(append(joined, part...), 0)
	}
	return joined
}
