package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"github.com/vibeflow/vibeflow/contract"
)

// KeyBytes is the length of every key: the master key, data keys, derived keys.
const KeyBytes = 32

const (
	wrapVersion      = 1
	fingerprintBytes = 8
)

// Master is the master key. It wraps data keys, so that a rotation wraps them anew and touches nothing else. A wrapped key
// begins with a version and the master key's fingerprint: a wrong master key is told apart from damage.
type Master struct {
	raw    []byte
	aead   *subtle.AESGCM
	header []byte
}

// NewMaster takes a master key of KeyBytes; invalid_config for another length.
func NewMaster(raw []byte) (*Master, error) {
	if len(raw) != KeyBytes {
		return nil, contract.Errorf(contract.CodeInvalidConfig, "the master key has %d bytes, it needs %d", len(raw), KeyBytes)
	}
	aead, err := subtle.NewAESGCM(raw)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("vibeflow master key fingerprint\x00"), raw...))
	return &Master{raw: raw, aead: aead, header: append([]byte{wrapVersion}, sum[:fingerprintBytes]...)}, nil
}

// NewDataKey makes a random key, as it is and wrapped for its owner ("obj_…").
func (m *Master) NewDataKey(owner string) (raw, wrapped []byte, err error) {
	raw = make([]byte, KeyBytes)
	_, _ = rand.Read(raw) // crypto/rand.Read never fails since Go 1.24
	sealed, err := m.aead.Encrypt(raw, []byte(owner))
	if err != nil {
		return nil, nil, fmt.Errorf("wrap a data key: %w", err)
	}
	return raw, append(bytes.Clone(m.header), sealed...), nil
}

// Unwrap returns an owner's data key. It fails with prerequisite for a key that another master key wrapped.
func (m *Master) Unwrap(owner string, wrapped []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(wrapped, m.header)
	if !ok {
		return nil, contract.Errorf(contract.CodePrerequisite, "%s was encrypted under another master key", owner).
			Mend("restore the master key that belongs to this data folder")
	}
	raw, err := m.aead.Decrypt(sealed, []byte(owner))
	if err != nil {
		return nil, fmt.Errorf("the data key of %s is damaged: %w", owner, err)
	}
	return raw, nil
}

// Derive returns the key of a purpose whose values need not outlive the master key.
func (m *Master) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, m.raw, nil, "vibeflow "+purpose, KeyBytes)
}
