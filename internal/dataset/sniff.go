package dataset

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Container is the type of a file.
type Container string

// Containers.
const (
	JSON    Container = "json"    // an array of objects, or objects one after the other over several lines each
	JSONL   Container = "jsonl"   // an object a line
	CSV     Container = "csv"     // with a header; the delimiter is a comma, a semicolon or a tab
	Parquet Container = "parquet" //
	Text    Container = "text"    // a document a line
)

var parquetMagic = []byte("PAR1")

// NeedsRandomAccess says whether a file that begins with header can only be read with Source.At: the caller then spools
// it to a local file first. Four bytes suffice.
func NeedsRandomAccess(header []byte) bool { return bytes.HasPrefix(header, parquetMagic) }

// foreign are the types that people bring by mistake, by their first bytes.
var foreign = []struct{ magic, what, remedy string }{
	{"\x89PNG", "a PNG image", ""},
	{"\xff\xd8\xff", "a JPEG image", ""},
	{"GIF8", "a GIF image", ""},
	{"%PDF-", "a PDF document", "extract its text into a .txt file first"},
	{"PK\x03\x04", "a ZIP archive (or an Excel or Word file)", "unpack it, or save the sheet as CSV, and upload the data file itself"},
	{"\x1f\x8b", "gzip-compressed", "unpack it (gunzip) and upload the file inside"},
	{"BZh", "bzip2-compressed", "unpack it (bunzip2) and upload the file inside"},
	{"\xfd7zXZ", "xz-compressed", "unpack it (unxz) and upload the file inside"},
	{"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it (zstd -d) and upload the file inside"},
	{"7z\xbc\xaf", "a 7-Zip archive", "unpack it and upload the data file itself"},
	{"SQLite format 3", "an SQLite database", "export the table as CSV"},
	{"ARROW1", "an Arrow IPC (Feather) file", "save it as Parquet or JSON Lines"},
	{"GGUF", "a GGUF model", "upload it as a model"},
	{"\x93NUMPY", "a NumPy array", "save the rows as JSON Lines"},
	{"\x89HDF", "an HDF5 file", "save the rows as JSON Lines"},
	{"\x80\x02", "a Python pickle, which is never loaded because it can run code", "save the rows as JSON Lines"},
	{"\x80\x03", "a Python pickle, which is never loaded because it can run code", "save the rows as JSON Lines"},
	{"\x80\x04", "a Python pickle, which is never loaded because it can run code", "save the rows as JSON Lines"},
	{"\x80\x05", "a Python pickle, which is never loaded because it can run code", "save the rows as JSON Lines"},
	{"\x7fELF", "a program", ""},
	{"MZ\x90", "a program", ""},
	{"\xff\xfe\x00\x00", "UTF-32 text", saveAsUTF8},
	{"\x00\x00\xfe\xff", "UTF-32 text", saveAsUTF8},
	{"<!doctype html", "a web page", "download the data itself, not the page that shows it"},
	{"<html", "a web page", "download the data itself, not the page that shows it"},
	{"<?xml", "an XML document", ""},
	{"version https://git-lfs", "a Git LFS pointer, not the data", "fetch the file with `git lfs pull` and upload that"},
}

const supported = "upload JSON, JSON Lines, CSV, Parquet or plain text"

func unsupported(what, remedy string) error {
	if remedy == "" {
		remedy = supported
	}
	return contract.Errorf(contract.CodeUnsupported, "the file is %s", what).On("file").Mend("%s", remedy)
}

// sniff tells the type from the first bytes, and where those leave it open from the name.
func sniff(head []byte, name string) (Container, error) {
	if NeedsRandomAccess(head) {
		return Parquet, nil
	}
	marked := markedEncoding(head)
	text, ext := marked.text(head), strings.ToLower(filepath.Ext(name))
	lower := bytes.ToLower(text[:min(len(text), 32)])
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) || (f.magic[0] == '<' && bytes.HasPrefix(lower, []byte(f.magic))) {
			return "", unsupported(f.what, f.remedy)
		}
	}
	if bytes.IndexByte(text, 0) >= 0 {
		return "", unsupported("binary", "")
	}
	if marked.isUTF16() && ext == ".txt" && tabbed(text) {
		return CSV, nil
	}
	return sniffText(text, ext)
}

// tabbed says whether text is a table as Excel writes it as "Unicode text": two rows of as many cells, with tabs between.
func tabbed(text []byte) bool {
	rows := csv.NewReader(bytes.NewReader(text))
	rows.Comma, rows.LazyQuotes = '\t', true
	first, err := rows.Read()
	if err != nil || len(first) < 2 {
		return false
	}
	_, err = rows.Read()
	return err == nil
}

func sniffText(head []byte, ext string) (Container, error) {
	body := bytes.TrimLeft(head, " \t\r\n")
	if len(body) == 0 && len(head) < HeaderBytes {
		return "", contract.Errorf(contract.CodeBadData, "the file holds nothing but white space").Mend("upload a file with at least two rows")
	}
	prose := ext == ".txt" || ext == ".text" || ext == ".md" || ext == ".csv" || ext == ".tsv"
	switch {
	case looksLikeObject(body):
		return linesOrStream(body, ext), nil
	case looksLikeArray(body, prose):
		return JSON, nil
	}
	switch ext {
	case ".json":
		return JSON, nil
	case ".jsonl", ".ndjson":
		return JSONL, nil
	case ".csv", ".tsv":
		return CSV, nil
	case ".txt", ".text", ".md", ".markdown":
		return Text, nil
	case "":
		if delimiter, found := sniffDelimiter(head); found && headerNamesRole(head, delimiter) {
			return CSV, nil
		}
		return Text, nil
	}
	return "", contract.Errorf(contract.CodeUnsupported, "%s files are not datasets that VibeFlow reads", ext).On("file").Mend(supported)
}

func looksLikeObject(body []byte) bool {
	if len(body) == 0 || body[0] != '{' {
		return false
	}
	next := bytes.TrimLeft(body[1:], " \t\r\n")
	return len(next) == 0 || next[0] == '"' || next[0] == '}'
}

// looksLikeArray is stricter where the name says that a leading bracket may be prose, as in "[1] Introduction".
func looksLikeArray(body []byte, prose bool) bool {
	if len(body) == 0 || body[0] != '[' {
		return false
	}
	next := bytes.TrimLeft(body[1:], " \t\r\n")
	return !prose || len(next) > 0 && looksLikeObject(next)
}

// linesOrStream tells an object a line from objects written over several lines: only the second has a first line that
// stops in the middle.
func linesOrStream(body []byte, ext string) Container {
	line, _, ended := bytes.Cut(body, []byte{'\n'})
	if ext == ".jsonl" || ext == ".ndjson" || !ended {
		return JSONL
	}
	_, err := newJSONParser().line(bytes.TrimRight(line, " \t\r"))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return JSON
	}
	return JSONL
}

var utf8BOM = []byte("\xef\xbb\xbf")

func trimBOM(b []byte) []byte { return bytes.TrimPrefix(b, utf8BOM) }
