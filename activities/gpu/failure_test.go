package gpu_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/vibeflow/vibeflow/activities/gpu"
	"github.com/vibeflow/vibeflow/contract"
)

func TestFailure(t *testing.T) {
	t.Parallel()
	for code, want := range map[contract.Code]struct {
		kind  string
		again bool
	}{
		contract.CodeBadData:          {kind: "bad_data"},
		contract.CodeAllMasked:        {kind: "all_labels_masked"},
		contract.CodeModelUnavailable: {kind: "model_unavailable"},
		contract.CodeInvalidConfig:    {kind: "invalid_config"},
		contract.CodeFingerprint:      {kind: "fingerprint_mismatch"},
		contract.CodeOutOfMemory:      {kind: "out_of_memory"},
		contract.CodeNonFiniteLoss:    {kind: "non_finite_loss"},
		contract.CodeDiskFull:         {kind: "disk_full"},
		contract.CodeNoProgress:       {kind: "no_progress"},
		contract.CodeRunnerCrashed:    {kind: "runner_crashed", again: true},
		contract.CodeUnavailable:      {kind: "unavailable", again: true},
		contract.CodeEpochSuperseded:  {kind: gpu.TypeEpochSuperseded, again: true},
		contract.CodeUnauthenticated:  {kind: "unavailable", again: true},
		contract.CodeConflict:         {kind: "unavailable", again: true},
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			err := gpu.Failure(fmt.Errorf("artifact x: %w", contract.Errorf(code, "what went wrong").Mend("what to do")))
			var failure *temporal.ApplicationError
			require.ErrorAs(t, err, &failure)
			require.Equal(t, want.kind, failure.Type())
			require.Equal(t, want.again, !failure.NonRetryable())
			if failure.HasDetails() {
				var problem contract.Error
				require.NoError(t, failure.Details(&problem))
				require.Equal(t, "what to do", problem.Remedy)
			}
		})
	}
}

func TestUntypedFailureIsTriedAgain(t *testing.T) {
	t.Parallel()
	var failure *temporal.ApplicationError
	require.ErrorAs(t, gpu.Failure(errors.New("disk on fire")), &failure)
	require.Equal(t, "internal", failure.Type())
	require.False(t, failure.NonRetryable())
}
