package store

import (
	"context"
	"fmt"

	"github.com/vibeflow/vibeflow/contract"
)

// selectSetbacks names its index, whose condition it repeats: by the primary key every event of a job would be read.
const selectSetbacks = `SELECT stream, seq, type, payload, source, source_seq, at, actor, project_id FROM events
INDEXED BY events_setbacks WHERE stream = ? AND type IN ('job.adjusted', 'job.checkpoint_lost') ORDER BY seq`

// Setbacks returns, in order, the events of a job that say what failures have changed in it (EventAdjusted and
// EventCheckpointLost); few, for policies end. Whether ctx reaches the job is not asked.
func (s *Store) Setbacks(ctx context.Context, jobID string) ([]contract.Event, error) {
	var rows []eventRow
	if err := s.reader.NewRaw(selectSetbacks, contract.Stream(contract.KindJob, jobID)).Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("read the setbacks of %s: %w", jobID, err)
	}
	return openEvents(s.reader, rows)
}
