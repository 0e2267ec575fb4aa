package engine

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	// processBytes is what an engine takes before any weights: the imports (0.91 GiB measured) and room to answer in.
	processBytes = 1300 << 20
	// bundledBytes are SmolLM2-135M's weights in 32 bits.
	bundledBytes = 540 << 20
)

// needOf estimates what serving a base model takes: the process, and its weights as they lie on the disk. A model that
// is not on this machine yet counts as nothing beyond the process; what it really takes shows when it is loaded.
func needOf(base contract.ModelRef, models string) int64 {
	source, name, _ := strings.Cut(base.Source, ":")
	switch source {
	case "bundled":
		return processBytes + bundledBytes
	case "path":
		return processBytes + weightsUnder(name)
	case "upload":
		return processBytes + weightsUnder(base.Path)
	case "hub":
		snapshot := filepath.Join(models, "hub", "models--"+strings.ReplaceAll(name, "/", "--"), "snapshots", base.Revision)
		return processBytes + weightsUnder(snapshot)
	default:
		return processBytes
	}
}

// weightsUnder adds up the safetensors files of a folder, links followed.
func weightsUnder(folder string) int64 {
	names, err := filepath.Glob(filepath.Join(folder, "*.safetensors"))
	if err != nil {
		return 0
	}
	var size int64
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	return size
}
