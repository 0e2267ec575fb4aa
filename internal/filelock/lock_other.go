//go:build !unix

package filelock

import (
	"os"

	"github.com/vibeflow/vibeflow/contract"
)

func tryLock(*os.File) error {
	return contract.Errorf(contract.CodeUnsupported, "VibeFlow does not run on this system directly").
		Mend("on Windows, run it inside WSL2")
}

func unlock(*os.File) {}
