//go:build unix

package benchmark

import (
	"github.com/vibeflow/vibeflow/internal/platform"
)

// On runs a benchmark on a VibeFlow of its own, which is not started yet; bin names the program to measure, or is empty.
func On(bin string, run func(*platform.Platform) error) (err error) {
	binary, err := platform.Binary(bin)
	if err != nil {
		return err
	}
	p, err := platform.New(binary)
	if err != nil {
		return err
	}
	p.Own = true // Main hears Ctrl-C
	defer func() {
		if closeErr := p.Close(); err == nil {
			err = closeErr
		}
	}()
	return run(p)
}
