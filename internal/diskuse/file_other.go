//go:build !unix

package diskuse

import "io/fs"

type link struct{}

func linkOf(fs.FileInfo) (l link, shared bool) { return link{}, false }

func sizeOf(info fs.FileInfo) int64 { return info.Size() }
