package controltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

// marker is in every row of the datasets that are uploaded here.
const marker = "zebra-marmalade"

// TestWhatUsersUploadedIsInTheClearNowhere after a whole run that has quoted it in every way: a preview, the cited rows of
// a dataset that failed, a runner's log, an evaluation's samples, a file that a worker is just handing in.
func TestWhatUsersUploadedIsInTheClearNowhere(t *testing.T) {
	s := newSite(t)
	m := s.machine()
	m.quote = "the row says " + marker
	close(m.hold)
	defer s.serve(s.store)()
	id := s.tellPipeline(contract.PipelineRequest{DatasetID: s.upload(marked(400, "assistant")), Goal: "be like " + marker, AutoConfirm: true})
	done := s.pipelineIs(id, contract.StatusCompleted)
	bad := s.upload(marked(40, marker))
	s.until(contract.KindDataset, bad, contract.EventFailed)
	_, err := s.artifacts.Part("job_9-0000").Write(0, strings.NewReader(strings.Repeat(m.quote, 10_000)))
	require.NoError(t, err)

	dataset, err := s.store.GetDataset(t.Context(), done.Request.DatasetID)
	require.NoError(t, err)
	require.Contains(t, string(dataset.Profile), marker, "its preview")
	failed, err := s.store.GetDataset(t.Context(), bad)
	require.NoError(t, err)
	require.Contains(t, failed.Error.Message, marker, "it cites a row")
	evaluation, err := s.store.GetEvaluation(t.Context(), stageID(t, done, contract.StageEvaluate))
	require.NoError(t, err)
	require.Contains(t, evaluation.Metrics.Samples[0].AnswerTuned, marker)
	log, err := s.store.EventsAfter(t.Context(), contract.Stream(contract.KindJob, stageID(t, done, contract.StageTrain)), 0, 0)
	require.NoError(t, err)
	told := false
	for _, e := range log {
		told = told || e.Type == contract.RunnerLog && bytes.Contains(e.Payload, []byte(marker))
	}
	require.True(t, told, "the runner's log")

	seen := s.grep(marker)
	require.Empty(t, seen.with)
	require.Subset(t, seen.all, []string{"app.db", "app.db-wal", "spool/job_9-0000.sealed"})
}

func stageID(t *testing.T, p *store.Pipeline, stage string) string {
	t.Helper()
	for _, s := range p.Stages {
		if s.Stage == stage {
			return s.ID
		}
	}
	require.Fail(t, "the pipeline has no such stage", stage)
	return ""
}

func marked(n int, role string) string {
	var lines strings.Builder
	for i := range n {
		body, _ := json.Marshal(map[string]any{"messages": []map[string]string{
			{"role": "user", "content": fmt.Sprintf("question %d of %s", i, marker)}, {"role": role, "content": "an answer with " + marker},
		}})
		lines.Write(append(body, '\n'))
	}
	return lines.String()
}

// found is the files below a site's folder, and those that have a text.
type found struct{ all, with []string }

func (s *site) grep(text string) (f found) {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.dir, path)
		f.all = append(f.all, name)
		if bytes.Contains(content, []byte(text)) {
			f.with = append(f.with, name)
		}
		return err
	})
	require.NoError(s.t, err)
	return f
}
