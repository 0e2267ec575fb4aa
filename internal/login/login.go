// Package login keeps the CLI signed in to servers elsewhere: a file of mode 0600 in the user's configuration folder with
// one session a server. Access tokens are renewed when they run out; commands that run at the same time share a session.
package login

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/filelock"
)

// renewBefore is how long before its end an access token is renewed.
const renewBefore = time.Minute

// Session is where one is signed in.
type Session struct {
	Email   string    `json:"email,omitempty"`
	Access  string    `json:"access_token"`
	Refresh string    `json:"refresh_token"`
	Expires time.Time `json:"expires_at"`
}

// File is the sessions of a user. It is safe for concurrent use, by other processes too.
type File struct {
	path string
	mu   sync.Mutex
}

// Default is the file in the user's configuration folder.
func Default() (*File, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return nil, contract.Errorf(contract.CodePrerequisite, "there is no folder to keep sign-ins in: %w", err).Mend("set $XDG_CONFIG_HOME or $HOME")
	}
	return At(filepath.Join(dir, "vibeflow", "logins.json")), nil
}

// At is the file at a path.
func At(path string) *File { return &File{path: path} }

// Server normalises a server's URL, under which its session is kept. Plain HTTP is for this machine alone (invalid).
func Server(server string) (string, error) {
	u, err := url.Parse(strings.TrimRight(server, "/"))
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" {
		return "", contract.Errorf(contract.CodeInvalid, "%q is not a server's URL", server).On("server").Mend("write it as https://host")
	}
	if u.Scheme == "http" && !local(u.Hostname()) {
		return "", contract.Errorf(contract.CodeInvalid, "%s does not encrypt: a password would be there for all to read", server).On("server").
			Mend("use https, or a tunnel to a loopback address")
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host) + u.Path, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// Put keeps a server's session; nil forgets it.
func (f *File) Put(ctx context.Context, server string, s *Session) error {
	return f.change(ctx, func(all map[string]Session) error {
		delete(all, server)
		if s != nil {
			all[server] = *s
		}
		return nil
	})
}

// Get returns a server's session; ok is false if one is not signed in there.
func (f *File) Get(server string) (s Session, ok bool, err error) {
	all, err := f.read()
	s, ok = all[server]
	return s, ok, err
}

// Token returns an access token for a server that is good for a while, renewing it if needed. It fails with
// unauthenticated when the session has ended.
func (f *File) Token(ctx context.Context, server string) (string, error) {
	s, ok, err := f.Get(server)
	if err != nil {
		return "", err
	}
	if ok && time.Until(s.Expires) > renewBefore {
		return s.Access, nil
	}
	var token string
	err = f.change(ctx, func(all map[string]Session) error {
		s, ok := all[server] // another command may have renewed it while we waited
		if !ok {
			return contract.Errorf(contract.CodeUnauthenticated, "you are not signed in to %s", server).Mend("vibeflow login %s", server)
		}
		if time.Until(s.Expires) <= renewBefore {
			if err := renew(ctx, server, &s); err != nil {
				return err
			}
			all[server] = s
		}
		token = s.Access
		return nil
	})
	return token, err
}

// Renewer is Token of a server, as a client wants it.
func (f *File) Renewer(server string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return f.Token(ctx, server) }
}

func renew(ctx context.Context, server string, s *Session) error {
	got, err := apiclient.Post[apigen.Session](ctx, &apiclient.Client{Base: server}, "/api/auth/refresh", apigen.Refresh{RefreshToken: s.Refresh})
	if contract.CodeOf(err) == contract.CodeUnauthenticated {
		return contract.Errorf(contract.CodeUnauthenticated, "the session at %s has ended", server).Mend("vibeflow login %s", server)
	}
	if err != nil {
		return err
	}
	s.Access, s.Refresh, s.Expires = got.AccessToken, got.RefreshToken, got.ExpiresAt
	return nil
}

// change reads, changes and writes the file, one process at a time.
func (f *File) change(ctx context.Context, change func(map[string]Session) error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	lock, err := filelock.Wait(ctx, f.path+".lock")
	if err != nil {
		return err
	}
	defer lock.Release()
	all, err := f.read()
	if err != nil {
		return err
	}
	if err := change(all); err != nil {
		return err
	}
	content, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return datadir.WriteFile(f.path, append(content, '\n'))
}

func (f *File) read() (map[string]Session, error) {
	all := map[string]Session{}
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &all)
	}
	if err != nil {
		return nil, contract.Errorf(contract.CodePrerequisite, "the file of sign-ins cannot be read: %w", err).Mend("mend or remove %s, and sign in again", f.path)
	}
	if info, err := os.Stat(f.path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, contract.Errorf(contract.CodePrerequisite, "other users of this machine may read %s", f.path).
			Mend("sign out everywhere if they had the chance, then: chmod 600 %s", f.path)
	}
	return all, nil
}
