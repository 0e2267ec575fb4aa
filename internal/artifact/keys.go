package artifact

import (
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/vibeflow/vibeflow/internal/seal"
)

// Parameters of AES256-GCM-HKDF with 1 MiB segments (Tink's AES256GCMHKDF1MBKeyTemplate).
const (
	dataKeyBytes = seal.KeyBytes
	segmentBytes = 1 << 20
	hkdfHash     = "SHA256"
)

// dataKey is an object's key: as a streaming cipher, as raw bytes for random access, and wrapped for the index.
type dataKey struct {
	stream  *subtle.AESGCMHKDF
	raw     []byte
	wrapped []byte
}

func newDataKey(master *seal.Master, id string) (*dataKey, error) {
	raw, wrapped, err := master.NewDataKey(id)
	if err != nil {
		return nil, err
	}
	return openDataKey(raw, wrapped)
}

func unwrap(master *seal.Master, o Object) (*dataKey, error) {
	raw, err := master.Unwrap(o.ID, o.WrappedKey)
	if err != nil {
		return nil, err
	}
	return openDataKey(raw, o.WrappedKey)
}

func openDataKey(raw, wrapped []byte) (*dataKey, error) {
	stream, err := subtle.NewAESGCMHKDF(raw, hkdfHash, dataKeyBytes, segmentBytes, 0)
	if err != nil {
		return nil, err
	}
	return &dataKey{stream: stream, raw: raw, wrapped: wrapped}, nil
}
