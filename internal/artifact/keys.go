package artifact

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	aeadsubtle "github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/vibeflow/vibeflow/contract"
)

// Parameters of AES256-GCM-HKDF with 1 MiB segments (Tink's AES256GCMHKDF1MBKeyTemplate).
const (
	dataKeyBytes = 32
	segmentBytes = 1 << 20
	hkdfHash     = "SHA256"
)

// keyring wraps data keys under the master key. A wrapped key begins with a version and the master key's fingerprint, so
// that a wrong master key is told apart from damage, and several can live side by side during a rotation.
type keyring struct {
	master *aeadsubtle.AESGCM
	header []byte
}

const (
	wrapVersion      = 1
	fingerprintBytes = 8
)

func newKeyring(master []byte) (*keyring, error) {
	if len(master) != dataKeyBytes {
		return nil, contract.Errorf(contract.CodeInvalidConfig, "the master key has %d bytes, it needs %d", len(master), dataKeyBytes)
	}
	aead, err := aeadsubtle.NewAESGCM(master)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("vibeflow master key fingerprint\x00"), master...))
	return &keyring{master: aead, header: append([]byte{wrapVersion}, sum[:fingerprintBytes]...)}, nil
}

// dataKey is an object's key: as a streaming cipher, as raw bytes for random access, and wrapped for the index.
type dataKey struct {
	stream  *subtle.AESGCMHKDF
	raw     []byte
	wrapped []byte
}

func (k *keyring) newDataKey(id string) (*dataKey, error) {
	raw := make([]byte, dataKeyBytes)
	_, _ = rand.Read(raw) // crypto/rand.Read never fails since Go 1.24
	sealed, err := k.master.Encrypt(raw, []byte(id))
	if err != nil {
		return nil, fmt.Errorf("wrap a data key: %w", err)
	}
	key, err := openDataKey(raw)
	if err != nil {
		return nil, err
	}
	key.wrapped = append(bytes.Clone(k.header), sealed...)
	return key, nil
}

func (k *keyring) unwrap(o Object) (*dataKey, error) {
	sealed, ok := bytes.CutPrefix(o.WrappedKey, k.header)
	if !ok {
		return nil, contract.Errorf(contract.CodePrerequisite, "object %s was encrypted under another master key", o.ID).
			Mend("restore the master key that belongs to this data folder")
	}
	raw, err := k.master.Decrypt(sealed, []byte(o.ID))
	if err != nil {
		return nil, fmt.Errorf("the data key of object %s is damaged: %w", o.ID, err)
	}
	return openDataKey(raw)
}

func openDataKey(raw []byte) (*dataKey, error) {
	stream, err := subtle.NewAESGCMHKDF(raw, hkdfHash, dataKeyBytes, segmentBytes, 0)
	if err != nil {
		return nil, err
	}
	return &dataKey{stream: stream, raw: raw}, nil
}
