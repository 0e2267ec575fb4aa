package runner

import (
	"bytes"
	"io"
	"os"
	"strings"
)

// stderrBytes is how much of the end of stderr goes with a failure.
const stderrBytes = 8 << 10

// harmless are parts of lines that the libraries write on machines where all is well: facts/ml-measured.md §1.
var harmless = []string{
	"Failed to load CPU gemm_4bit_forward",
	"triton not found",
	"No module named 'triton'",
}

// StderrTail returns the last 8 KiB of a log, from the start of a line, without what is known to be harmless.
func StderrTail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	offset := max(0, info.Size()-stderrBytes)
	data, err := io.ReadAll(io.NewSectionReader(file, offset, stderrBytes))
	if err != nil {
		return ""
	}
	if offset > 0 {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	var kept strings.Builder
	for text := range strings.Lines(strings.ToValidUTF8(string(data), "�")) {
		if !isHarmless(text) {
			kept.WriteString(text)
		}
	}
	return kept.String()
}

func isHarmless(text string) bool {
	for _, part := range harmless {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// lastLineOfTraceback is the exception that a Python traceback ends with, or what faulthandler says of a fatal signal.
func lastLineOfTraceback(stderr string) string {
	last, inside := "", false
	for text := range strings.Lines(stderr) {
		text = strings.TrimRight(text, "\n")
		switch {
		case strings.HasPrefix(text, "Fatal Python error"):
			return text
		case strings.HasPrefix(text, "Traceback (most recent call last)"):
			inside = true
		case inside && text != "" && !strings.HasPrefix(text, " "):
			last, inside = text, false
		}
	}
	return last
}
