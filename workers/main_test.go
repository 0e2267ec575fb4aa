package workers

import (
	"testing"

	"github.com/vibeflow/vibeflow/internal/embedded/embeddedtest"
	"github.com/vibeflow/vibeflow/workers/runner/runnertest"
)

func TestMain(m *testing.M) {
	runnertest.Main()
	embeddedtest.Main(m)
}
