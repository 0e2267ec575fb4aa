// Package sqlite opens SQLite files, whatever is in their names.
package sqlite

import (
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/uptrace/bun/driver/sqliteshim"
)

// Escape writes a path as SQLite's URIs have it: as it stands it would end at its first "?" or "#", and a "%" would change it.
func Escape(path string) string { return (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() }

// Open opens a file by at most conns connections, each with the settings: name=value as in SQLite's URIs ("mode=rw"), or of
// its driver ("_pragma=busy_timeout(10000)", "_txlock=immediate"). Nothing is read, or made, before the first use.
func Open(path string, conns int, settings ...string) (*sql.DB, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(sqliteshim.ShimName, "file:"+Escape(absolute)+"?"+strings.Join(settings, "&"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(conns)
	db.SetMaxIdleConns(conns)
	return db, nil
}
