// Package ui holds the web app as the binary serves it. Its source is TypeScript beside this file; `go tool task ui`
// builds it into dist, which a checkout holds without the built files, so that Go builds where Node never ran.
package ui

import (
	"embed"
	"io/fs"
)

//go:embed all:dist
var dist embed.FS

// Files is the built app: index.html and all that it needs, or no page at all where the app was not built.
func Files() fs.FS {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the name is a constant that embed has checked
	}
	return files
}
