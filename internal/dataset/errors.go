package dataset

import (
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/vibeflow/vibeflow/contract"
)

// Limits on what a file may ask of us.
const (
	MaxRowBytes = 16 << 20 // one row, as it stands in the file
	MaxDepth    = 64       // nested lists and objects
	MaxColumns  = 1000     // columns of a row
	MaxValues   = 200_000  // values in a row, nested ones included: each takes some 100 bytes of memory
)

// place is where in the file something stands; 0 is unknown.
type place struct{ line, column int64 }

func broken(at place, format string, args ...any) *contract.Error {
	reason := fmt.Errorf(format, args...)
	if at.column > 0 {
		return contract.Errorf(contract.CodeBadData, "line %d, column %d: %w", at.line, at.column, reason)
	}
	return contract.Errorf(contract.CodeBadData, "line %d: %w", at.line, reason)
}

func truncated(at place, what string) *contract.Error {
	return contract.Errorf(contract.CodeBadData, "line %d: the file ends in the middle of %s: it was cut off", at.line, what).
		Mend("upload the whole file again")
}

func rowTooLarge(at place) *contract.Error {
	return broken(at, "the row that starts here is larger than %d MiB", MaxRowBytes>>20).
		Mend("split it into several rows, or close the quote or bracket that was left open")
}

func hasNUL(at place) *contract.Error {
	return broken(at, "there is a NUL byte in the text").Mend("is this a text file? remove the NUL bytes and upload it again")
}

var (
	errTooDeep = errors.New("nested too deeply")
	errTooMany = errors.New("too many values")
)

// jsonFault turns a decoder's error into one for people.
func jsonFault(err error, at place, what string) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooDeep):
		return broken(at, "lists and objects are nested more than %d deep", MaxDepth).Mend("flatten the rows")
	case errors.Is(err, errTooMany):
		return broken(at, "the row has more than %d values", MaxValues).Mend("split it into several rows")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return truncated(at, what)
	case errors.As(err, &syntax) && syntax.Err.Error() == "invalid UTF-8":
		return notUTF8(at)
	case errors.As(err, &syntax):
		return broken(at, "broken JSON: %s", syntax.Err).Mend("mend the line and upload the file again")
	default:
		return err
	}
}
