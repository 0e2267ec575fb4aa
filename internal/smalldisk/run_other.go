//go:build !linux

package smalldisk

import "testing"

// Run skips the test: only Linux lets anybody mount a disk.
func Run(t *testing.T, _ int64, _ func(t *testing.T, dir string)) {
	t.Helper()
	t.Skip("only Linux lets anybody mount a small disk")
}
