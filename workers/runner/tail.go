package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	// batchLines and batchBytes bound one delivery of events.
	batchLines = 200
	batchBytes = 1 << 20
	// lineLimit bounds one line, as the gateway does; a runner's lines are some hundred bytes.
	lineLimit = 64 << 10
)

// line is one complete line of an event file.
type line struct {
	number int64
	text   json.RawMessage
	event  lineEvent
}

// lineEvent is the part of a line that the supervisor reads.
type lineEvent struct {
	N     int64  `json:"n"`
	Type  string `json:"type"`
	Step  int    `json:"step"`
	Total int    `json:"total_steps"`
	Name  string `json:"name"`
}

// read tells whether text is an event. A field of another type than expected is left out: it is no business of a
// supervisor what a runner says beyond its step.
func (e *lineEvent) read(text []byte) bool {
	err := json.Unmarshal(text, e)
	var other *json.UnmarshalTypeError
	return (err == nil || errors.As(err, &other)) && lineType.MatchString(e.Type)
}

// lineType is what a type may be.
var lineType = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

const lineCheckpoint = "checkpoint"

// tail reads an event file line by line, also while it grows and before it is there. Only complete lines count: a torn
// one at the end is a write that was cut off, or is still under way.
type tail struct {
	path   string
	file   *os.File
	offset int64
	number int64 // of the last line read
}

func openTail(path string) *tail { return &tail{path: path} }

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close()
	}
}

// next returns the lines that follow, none at the present end.
func (t *tail) next() ([]line, error) {
	if err := t.open(); t.file == nil {
		return nil, err
	}
	buffer := make([]byte, batchBytes)
	n, err := t.file.ReadAt(buffer, t.offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read events: %w", err)
	}
	lines := t.split(buffer[:n])
	if len(lines) == 0 && n == len(buffer) {
		return t.skipEndless()
	}
	return lines, nil
}

func (t *tail) open() error {
	if t.file != nil {
		return nil
	}
	file, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open events: %w", err)
	}
	t.file = file
	return nil
}

func (t *tail) split(data []byte) []line {
	var lines []line
	for len(lines) < batchLines {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			break
		}
		lines = append(lines, t.take(data[:end]))
		t.offset += int64(end) + 1
		data = data[end+1:]
	}
	return lines
}

// take numbers a line. One that the gateway would refuse keeps its number, so that the log has no gap, and says so.
func (t *tail) take(text []byte) line {
	t.number++
	l := line{number: t.number}
	if len(text) <= lineLimit && l.event.read(text) && l.event.N == t.number {
		l.text = bytes.Clone(text)
		return l
	}
	l.event = lineEvent{Type: "log"}
	l.text = unreadable(t.number, len(text))
	return l
}

func unreadable(number int64, size int) json.RawMessage {
	text, _ := json.Marshal(map[string]any{ // strings and numbers always encode
		"n": number, "at": time.Now().UTC(), "type": "log", "level": "error",
		"message": fmt.Sprintf("the runner wrote a line of %d bytes that is no event", size),
	})
	return text
}

// skipEndless passes over a line longer than a batch, if its end is there already.
func (t *tail) skipEndless() ([]line, error) {
	start, buffer := t.offset, make([]byte, batchBytes)
	for at := start; ; {
		n, err := t.file.ReadAt(buffer, at)
		if end := bytes.IndexByte(buffer[:n], '\n'); end >= 0 {
			size := at + int64(end) - start
			t.offset, t.number = start+size+1, t.number+1
			return []line{{number: t.number, event: lineEvent{Type: "log"}, text: unreadable(t.number, int(size))}}, nil
		}
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		at += int64(n)
	}
}

// batchOf is the delivery of lines, nil if the log has them all.
func batchOf(epoch, acked int64, lines []line) *contract.EventBatch {
	var batch *contract.EventBatch
	for _, l := range lines {
		if l.number <= acked {
			continue
		}
		if batch == nil {
			batch = &contract.EventBatch{Epoch: epoch, First: l.number}
		}
		batch.Lines = append(batch.Lines, l.text)
	}
	return batch
}
