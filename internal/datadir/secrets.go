package datadir

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Secret names a file of secrets/. Each holds 32 random bytes as unpadded URL-safe base64, so that a token can be
// put into a header as it stands.
type Secret string

// The secrets of a data folder.
const (
	SecretMasterKey     Secret = "master.key"     // wraps the keys of stored objects and of the database's content: see MasterKey
	SecretCLIToken      Secret = "cli.token"      // signs the CLI in as the owner
	SecretWorkerToken   Secret = "worker.token"   // signs workers in to the gateway
	SecretTemporalToken Secret = "temporal.token" // every call of the embedded Temporal carries it
	SecretJWTKey        Secret = "jwt.key"        // signs access tokens
)

const secretBytes = 32

// Token returns a secret's text, making the secret once if this is its first use; processes that race for that get
// the same one. A secret that others may read is refused (CodePrerequisite).
func (d *Dir) Token(name Secret) (string, error) {
	if err := checkName("secret", string(name)); err != nil {
		return "", err
	}
	path := d.join("secrets", string(name))
	token, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return token, err
	}
	if err := createSecret(path, d.join("secrets")); err != nil {
		return "", unusable(path, err)
	}
	return readSecret(path)
}

// Existing is Token for clients: a secret that is not there (CodeUnavailable) is not made.
func (d *Dir) Existing(name Secret) (string, error) {
	token, err := readSecret(d.join("secrets", string(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", neverStarted(d.root)
	}
	return token, err
}

// Key returns a secret's 32 bytes.
func (d *Dir) Key(name Secret) ([]byte, error) {
	token, err := d.Token(name)
	if err != nil {
		return nil, err
	}
	return base64.RawURLEncoding.DecodeString(token) // Token has checked it
}

// MasterKey is Key for the master key, which is made with a new database only: one that is gone is missed (CodePrerequisite),
// for what the data folder holds was encrypted under it.
func (d *Dir) MasterKey() ([]byte, error) {
	path := d.join("secrets", string(SecretMasterKey))
	_, missing := os.Stat(path)
	_, fresh := os.Stat(d.AppDB())
	if errors.Is(missing, fs.ErrNotExist) && fresh == nil {
		return nil, contract.Errorf(contract.CodePrerequisite, "%s is gone, and what this data folder holds was encrypted under it", path).
			Mend("put it back from a backup; without it, only a new data folder (--data) helps")
	}
	return d.Key(SecretMasterKey)
}

func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err != nil {
		return "", unreadable(path, err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", contract.Errorf(contract.CodePrerequisite, "other users of this machine may read %s", path).
			Mend("replace it if they had the chance, then: chmod 600 %s", path)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	token := strings.TrimSpace(string(content))
	if key, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(key) != secretBytes {
		return "", contract.Errorf(contract.CodePrerequisite, "%s is damaged", path).
			Mend("restore it from a backup; VibeFlow never overwrites a secret")
	}
	return token, nil
}

func unreadable(path string, err error) error {
	return contract.Errorf(contract.CodePrerequisite, "the data folder's secrets cannot be read: %w", err).On("data").
		Mend("run this as the user who runs `vibeflow up`, or make %s readable for you alone", path)
}

// createSecret publishes a complete file by a hard link, which fails if another process was first: its secret stands.
func createSecret(path, dir string) error {
	var key [secretBytes]byte
	_, _ = rand.Read(key[:]) // crypto/rand.Read never fails since Go 1.24
	temp, err := writeTemp(dir, []byte(base64.RawURLEncoding.EncodeToString(key[:])+"\n"))
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := os.Link(temp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(dir)
}
