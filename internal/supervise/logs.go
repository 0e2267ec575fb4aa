package supervise

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
)

const (
	rotateAt    = 16 << 20 // bytes
	keepRotated = 3
	longestLine = 64 << 10 // a longer one is cut in pieces

	longestTrace = 15 // lines shown of what is no log, such as a panic
)

// childLog is where a process's stdout and stderr go: into its log file, and what concerns people to them as well.
type childLog struct {
	s       *supervisor
	process datadir.Process
	path    string

	mu       sync.Mutex
	file     *os.File
	size     int64
	pending  []byte
	lastLine string
	// unstructured counts the lines in a row that are no log lines: a trace is shown by its beginning only.
	unstructured int
}

// openLog appends to the process's log.
func openLog(s *supervisor, process datadir.Process) (*childLog, error) {
	l := &childLog{s: s, process: process, path: s.logPath(process)}
	return l, l.open()
}

func (l *childLog) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write implements io.Writer. It never fails: a full disk must cost log lines, not the process that writes them.
func (l *childLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, p...)
	for {
		end := bytes.IndexByte(l.pending, '\n')
		if end < 0 && len(l.pending) < longestLine {
			return len(p), nil
		}
		if end < 0 {
			end = len(l.pending) - 1
		}
		l.line(l.pending[:end+1])
		l.pending = l.pending[end+1:]
	}
}

// Close writes what is left and closes the file.
func (l *childLog) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) > 0 {
		l.line(append(l.pending, '\n'))
		l.pending = nil
	}
	_ = l.file.Close()
}

// lastWords is the error that the process ended with, if that was its last line.
func (l *childLog) lastWords() *contract.Error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return parseError(l.lastLine)
}

func (l *childLog) line(line []byte) {
	if l.size+int64(len(line)) > rotateAt {
		l.rotate()
	}
	n, _ := l.file.Write(line)
	l.size += int64(n)
	text := strings.TrimRight(string(line), "\r\n")
	if strings.TrimSpace(text) == "" {
		return
	}
	l.lastLine = text
	entry, structured := parseEntry(text)
	l.unstructured++
	if structured {
		l.unstructured = 0
	}
	switch {
	case l.unstructured == longestTrace+1 && !l.s.Verbose:
		l.show("… more in " + l.path)
	case l.unstructured > longestTrace && !l.s.Verbose:
	case l.s.Verbose || !structured || !quiet(entry.level):
		l.show(entry.text)
	}
}

func (l *childLog) show(text string) {
	l.s.output.Lock()
	defer l.s.output.Unlock()
	_, _ = fmt.Fprintf(l.s.Err, "%s | %s\n", l.process, text)
}

// rotate renames x.log to x.log.1 and so on; the oldest goes. If that fails the file just grows.
func (l *childLog) rotate() {
	for i := keepRotated - 1; i >= 0; i-- {
		from := l.path
		if i > 0 {
			from = fmt.Sprintf("%s.%d", l.path, i)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.path, i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	old := l.file
	if err := l.open(); err != nil {
		l.file = old
		return
	}
	_ = old.Close()
}

// entry is one line of a log as people see it. They see warnings and errors, and what is no log line at all, such as
// a panic's trace.
type entry struct{ level, text string }

// parseEntry reads a line of slog's JSON or text, or the error that ends a process; structured is false for any other.
func parseEntry(line string) (_ entry, structured bool) {
	if said := parseError(line); said != nil {
		return entry{level: "ERROR", text: said.Error()}, true
	}
	if strings.HasPrefix(line, "{") {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["level"] != nil {
			return plain(fields), true
		}
	}
	if _, after, found := strings.Cut(line, "level="); found && strings.HasPrefix(line, "time=") {
		level, _, _ := strings.Cut(after, " ")
		return entry{level: level, text: line}, true
	}
	return entry{text: line}, false
}

// plain writes "WARN message key=value …"; when and which process stand elsewhere on the screen.
func plain(fields map[string]any) entry {
	level, message := fmt.Sprint(fields["level"]), fmt.Sprint(fields["msg"])
	for _, shown := range []string{"time", "level", "msg", "process"} {
		delete(fields, shown)
	}
	text := level + " " + message
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		text += fmt.Sprintf(" %s=%v", key, fields[key])
	}
	return entry{level: level, text: text}
}

func quiet(level string) bool {
	level, _, _ = strings.Cut(strings.ToUpper(level), "+") // slog writes INFO+2
	return strings.HasPrefix(level, "DEBUG") || level == "INFO"
}
