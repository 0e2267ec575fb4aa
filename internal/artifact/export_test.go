package artifact

import (
	"context"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// FailedRead is the error of a read that the disk has failed.
func FailedRead(ctx context.Context, s *Store, o Object, err error) error {
	return (&Reader{ctx: ctx, store: s, object: o}).cut(err)
}

// TinkStream is an object's cipher as Tink has it.
func TinkStream(s *Store, o Object) (*subtle.AESGCMHKDF, error) {
	key, err := unwrap(s.master, o)
	if err != nil {
		return nil, err
	}
	return key.stream, nil
}
