package runner

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func writeEvents(t *testing.T, content string) *tail {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	tail := openTail(path)
	t.Cleanup(tail.close)
	return tail
}

func TestTailReadsWholeLinesOnly(t *testing.T) {
	tail := writeEvents(t, `{"n":1,"type":"metrics","step":3}`+"\n"+`{"n":2,"type":"met`)
	lines, err := tail.next()
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, 3, lines[0].event.Step)
	lines, err = tail.next()
	require.NoError(t, err)
	require.Empty(t, lines, "half a line is nobody's")

	file, err := os.OpenFile(tail.path, os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = file.WriteString(`rics","step":4}` + "\n")
	require.NoError(t, err)
	require.NoError(t, file.Close())
	lines, err = tail.next()
	require.NoError(t, err)
	require.Len(t, lines, 1)
	require.Equal(t, int64(2), lines[0].number)
	require.Equal(t, 4, lines[0].event.Step)
}

func TestTailKeepsTheNumberOfLinesThatAreNoEvents(t *testing.T) {
	endless := strings.Repeat("x", 3*batchBytes)
	tail := writeEvents(t, "rubbish\n"+endless+"\n"+`{"n":3,"type":"metrics","step":"seven","total_steps":9}`+"\n"+`{"n":4,"step":1}`+"\n"+`{"n":7,"type":"metrics"}`+"\n")
	var lines []line
	for {
		more, err := tail.next()
		require.NoError(t, err)
		if len(more) == 0 {
			break
		}
		lines = append(lines, more...)
	}
	require.Len(t, lines, 5)
	for i, l := range lines {
		require.Equal(t, int64(i+1), l.number)
	}
	require.Equal(t, "log", lines[0].event.Type)
	require.Contains(t, string(lines[1].text), fmt.Sprint(3*batchBytes))
	require.Equal(t, lineEvent{N: 3, Type: "metrics", Total: 9}, lines[2].event, "a field of another type is left out, the line is not")
	require.Equal(t, "log", lines[3].event.Type, "an event has a type")
	require.Equal(t, "log", lines[4].event.Type, "and its own number")
}

func TestTailOfAFileThatIsNotThereYet(t *testing.T) {
	tail := openTail(filepath.Join(t.TempDir(), "events.ndjson"))
	lines, err := tail.next()
	require.NoError(t, err)
	require.Empty(t, lines)
}

func TestBatchLeavesOutWhatTheLogHas(t *testing.T) {
	lines := []line{{number: 4, text: []byte(`4`)}, {number: 5, text: []byte(`5`)}, {number: 6, text: []byte(`6`)}}
	require.Nil(t, batchOf(1, 6, lines))
	batch := batchOf(1, 4, lines)
	require.Equal(t, int64(5), batch.First)
	require.Len(t, batch.Lines, 2)
}
