package artifact

import "github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

// TinkStream is an object's cipher as Tink has it.
func TinkStream(s *Store, o Object) (*subtle.AESGCMHKDF, error) {
	key, err := unwrap(s.master, o)
	if err != nil {
		return nil, err
	}
	return key.stream, nil
}
