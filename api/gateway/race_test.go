package gateway_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// TestTheSameUploadSeveralTimesAtOnce: a worker that gave up waiting sends again while the first request is still served.
func TestTheSameUploadSeveralTimesAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	before := w.blobs()
	content := []byte(strings.Repeat("abcdefgh", 40<<10))
	sha := digest(content)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			var state contract.UploadState
			w.chunk(c.Token, jobID, sha, 0, len(content), content).into(t, &state)
			require.True(t, state.Complete)
		})
	}
	all.Wait()
	require.Equal(t, before+1, w.blobs(), "it is stored once")
	require.Equal(t, content, w.do(c.Token, "GET", "/runs/"+jobID+"/blobs/"+sha, nil).body)
}

// TestContentThatOneRunLetsGoWhileAnotherTakesIt: the one prunes a checkpoint at the moment in which the other hands in the
// same files and is told that they are there.
func TestContentThatOneRunLetsGoWhileAnotherTakesIt(t *testing.T) {
	w := newWorld(t)
	c := w.claim(jobID, 0, 0)
	w.create(contract.KindJob, "job_2", contract.JobCreated{DatasetID: "ds_1", ModelID: "model_base"})
	other := w.claim("job_2", 0, 0)
	const steps, kept = 20, 2
	content := func(step int) string { return fmt.Sprintf("the weights of step %d", step) }
	stored := make(chan int, steps)
	var all sync.WaitGroup
	all.Go(func() {
		for step := range stored {
			text := content(step)
			var state contract.UploadState
			w.chunk(other.Token, "job_2", digest([]byte(text)), 0, len(text), []byte(text)).into(t, &state)
			require.True(t, state.Complete)
		}
	})
	for step := 1; step <= steps; step++ {
		name := fmt.Sprintf("step-%08d", step)
		m := contract.Manifest{Kind: "checkpoint", Name: name, Step: step, Files: []contract.FileInfo{w.upload(c, content(step))}}
		require.Equal(t, 200, w.send(c, step, line(step, "checkpoint", "name", name, "step", step)).status)
		if step > kept {
			stored <- step - kept // the one that the next commit prunes
		}
		require.Equal(t, 204, w.commit(c, m).status)
	}
	close(stored)
	all.Wait()
	for step := 1; step <= steps-kept; step++ {
		text := content(step)
		got := w.do(other.Token, "GET", "/runs/job_2/blobs/"+digest([]byte(text)), nil)
		require.Equal(t, 200, got.status, "step %d", step)
		require.Equal(t, text, string(got.body))
	}
}
