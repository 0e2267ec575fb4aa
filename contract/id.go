package contract

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Prefixes of identifiers; a reader of a log knows what an id names.
const (
	PrefixProject    = "proj_"
	PrefixDataset    = "ds_"
	PrefixModel      = "model_"
	PrefixJob        = "job_"
	PrefixEvaluation = "eval_"
	PrefixDeployment = "dep_"
	PrefixExport     = "exp_"
	PrefixPipeline   = "pipe_"
	PrefixKey        = "key_"
	PrefixUser       = "user_"
	PrefixSession    = "sess_"
)

// NewID returns prefix + 24 random hexadecimal digits (96 bits).
func NewID(prefix string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails since Go 1.24
	return prefix + hex.EncodeToString(b[:])
}

// DerivedID returns the id that a retried step would choose again: the same parts give the same id.
func DerivedID(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return prefix + hex.EncodeToString(sum[:12])
}
