package dataset

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// open opens content under a name, which must be a type that is read.
func open(t testing.TB, name, content string) *File {
	t.Helper()
	file, err := Open(t.Context(), FromBytes(name, []byte(content)))
	require.NoError(t, err)
	return file
}

// inspect opens and inspects; opening may fail too.
func inspect(t testing.TB, name, content string) (*Profile, error) {
	t.Helper()
	file, err := Open(t.Context(), FromBytes(name, []byte(content)))
	if err != nil {
		return nil, err
	}
	return file.Inspect(t.Context(), Options{}, nil)
}

// rowsOf reads all rows as JSON.
func rowsOf(t testing.TB, file *File) []string {
	t.Helper()
	var rows []string
	require.NoError(t, file.each(t.Context(), Position{}, nil, func(row *Row) error {
		rows = append(rows, fmt.Sprintf("%d:%d %s", row.Number, row.Line, row.Value.appendJSON(nil, 0)))
		return nil
	}))
	return rows
}

func TestRowsOfEveryContainer(t *testing.T) {
	for _, c := range []struct {
		name, file, content string
		container           Container
		rows                []string
	}{
		{"array", "a.json", "\n[\n {\"text\":\"a\"},\n\n {\"text\":\n\"b\"}, {\"text\":\"c\"}]\n", JSON,
			[]string{`1:3 {"text":"a"}`, `2:5 {"text":"b"}`, `3:6 {"text":"c"}`}},
		{"array with a BOM", "a.json", "\ufeff[{\"text\":\"a\"}]", JSON, []string{`1:1 {"text":"a"}`}},
		{"array without a name", "upload", `[{"text":"a"}]`, JSON, []string{`1:1 {"text":"a"}`}},
		{"array named as text", "a.txt", `[ {"text":"a"}]`, JSON, []string{`1:1 {"text":"a"}`}},
		{"objects over several lines", "a.json", "{\n\"text\": \"a\"\n}\n{\"text\":\n\"b\"}\n", JSON,
			[]string{`1:1 {"text":"a"}`, `2:4 {"text":"b"}`}},
		{"lines", "a.jsonl", "{\"text\":\"a\"}\n\n{\"text\":\"b\"}", JSONL, []string{`1:1 {"text":"a"}`, `2:3 {"text":"b"}`}},
		{"lines named JSON, CRLF, BOM", "a.json", "\ufeff{\"text\":\"a\"}\r\n{\"text\":\"b\"}\r\n", JSONL,
			[]string{`1:1 {"text":"a"}`, `2:2 {"text":"b"}`}},
		{"escapes and numbers", "a.jsonl", `{"a\tb":"x\u00e9\ud83d\ude00\n","n":-1.5e3,"t":true,"z":null,"l":[1,["2"],{}]}`, JSONL,
			[]string{`1:1 {"a\tb":"xé😀\n","n":-1.5e3,"t":true,"z":null,"l":[1,["2"],{}]}`}},
		{"table", "a.csv", "\ufeffprompt,completion\n\"a \"\"q\"\"\",\"two\nlines\"\n\nb,c\n", CSV,
			[]string{`1:2 {"prompt":"a \"q\"","completion":"two\nlines"}`, `2:5 {"prompt":"b","completion":"c"}`}},
		{"table with semicolons", "a.csv", "prompt;completion\na,b;c\n", CSV, []string{`1:2 {"prompt":"a,b","completion":"c"}`}},
		{"table with tabs and bare quotes", "a.tsv", "prompt\tcompletion\nsay \"x\"\tc\n", CSV,
			[]string{`1:2 {"prompt":"say \"x\"","completion":"c"}`}},
		{"table without a name", "upload", "question,answer\na,b\n", CSV, []string{`1:2 {"question":"a","answer":"b"}`}},
		{"text", "a.txt", "one\r\n\n  two  \nthree", Text, []string{`1:1 {"text":"one"}`, `2:3 {"text":"  two  "}`, `3:4 {"text":"three"}`}},
		{"text that begins with a bracket", "a.txt", "[1] Introduction\n{x}", Text, []string{`1:1 {"text":"[1] Introduction"}`, `2:2 {"text":"{x}"}`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := open(t, c.file, c.content)
			require.Equal(t, c.container, file.Container)
			require.Equal(t, c.rows, rowsOf(t, file))
		})
	}
}

// TestReadersDoNotDependOnChunks: a source that gives one byte at a time yields the same rows.
func TestReadersDoNotDependOnChunks(t *testing.T) {
	for name, content := range map[string]string{
		"a.json":  "[{\"text\":\"é\\n\"},\n{\"text\":\"b\"}]",
		"a.jsonl": "{\"text\":\"é\\n\"}\n{\"text\":\"b\"}\n",
		"a.csv":   "text\né\n\"b\n\"\n",
		"a.txt":   "é\nb\n",
	} {
		whole := open(t, name, content)
		slow := open(t, name, content)
		slow.source.Open = openOneByte(content)
		require.Equal(t, rowsOf(t, whole), rowsOf(t, slow), name)
	}
}

func TestBrokenFiles(t *testing.T) {
	good := `{"prompt":"a","completion":"b"}` + "\n"
	deep := strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1)
	for _, c := range []struct {
		name, file, content string
		code                contract.Code
		message             string
	}{
		{"empty", "a.jsonl", "", contract.CodeBadData, "the file is empty"},
		{"blank", "a.jsonl", " \n\n", contract.CodeBadData, "nothing but white space"},
		{"empty array", "a.json", "[]", contract.CodeBadData, "the file holds no rows"},
		{"header only", "a.csv", "prompt,completion\n", contract.CodeBadData, "the file holds no rows"},
		{"too many bad lines", "a.jsonl", good + `{"prompt":"é", completion:1}` + "\n" + good, contract.CodeBadData, "1 of 3 rows are invalid; the first is row 2 (line 2): broken JSON: invalid character 'c'"},
		{"bad first line", "a.jsonl", "prompt\n", contract.CodeBadData, "line 1, column 1: broken JSON"},
		{"line broken in two", "a.jsonl", good + "{\"prompt\":\"a\",\n\"completion\":\"b\"}\n", contract.CodeBadData, "2 of 3 rows are invalid; the first is row 2 (line 2): broken JSON: the object does not end on this line"},
		{"all lines broken in two", "a.jsonl", strings.Repeat("{\"prompt\":\"a\",\n\"completion\":\"b\"}\n", 3), contract.CodeBadData, "line 1, column 15: broken JSON: the object does not end on this line (in JSON Lines every object"},
		{"two values on a line", "a.jsonl", good + `{"prompt":"a"} {"b":1}` + "\n", contract.CodeBadData, "row 2 (line 2): broken JSON: more than one value on the line, at column 16"},
		{"cut off in a line", "a.jsonl", good + `{"prompt":"a","compl`, contract.CodeBadData, "line 2: the file ends in the middle of the row: it was cut off"},
		{"cut off in an array", "a.json", "[\n{\"prompt\":\"a\",\"completion\":\"b\"},\n{\"prompt\"", contract.CodeBadData, "line 3: the file ends in the middle of the JSON: it was cut off"},
		{"array not closed", "a.json", `[{"prompt":"a","completion":"b"}`, contract.CodeBadData, "line 1: the file ends in the middle of the JSON"},
		{"array with a missing comma", "a.json", "[{\"prompt\":\"a\"}\n  {\"prompt\":\"b\"}]", contract.CodeBadData, "line 2, column 3: broken JSON"},
		{"array with a trailing comma", "a.json", "[{\"prompt\":\"a\"},\n]", contract.CodeBadData, "line 1, column 16: broken JSON"},
		{"something after the array", "a.json", "[{\"prompt\":\"a\"}]\n[]", contract.CodeBadData, "something follows the end of the JSON array"},
		{"single quotes", "a.json", "[{'prompt': 'a'}]", contract.CodeBadData, "line 1, column 3: broken JSON"},
		{"invalid UTF-8 in lines", "a.jsonl", good + "{\"prompt\":\"\xff\"}\n", contract.CodeBadData, "line 2, column 12: the text is not valid UTF-8"},
		{"invalid UTF-8 in an array", "a.json", "[\n{\"prompt\":\"\xff\"}]", contract.CodeBadData, "line 2, column 12: the text is not valid UTF-8"},
		{"invalid UTF-8 in a table", "a.csv", "prompt,completion\na,b\nc,\xff\n", contract.CodeBadData, "line 3: the text is not valid UTF-8"},
		{"invalid UTF-8 in text", "a.txt", "a\n\xff\n", contract.CodeBadData, "line 2: the text is not valid UTF-8"},
		{"NUL far into a text", "a.txt", strings.Repeat("a\n", HeaderBytes) + "\x00\n", contract.CodeBadData, "line 65537: there is a NUL byte"},
		{"nested too deeply in lines", "a.jsonl", good + `{"prompt":` + deep + "}\n", contract.CodeBadData, "line 2, column 75: lists and objects are nested more than 64 deep"},
		{"nested too deeply in an array", "a.json", `[{"prompt":` + deep + "}]", contract.CodeBadData, "nested more than 64 deep"},
		{"too many values", "a.json", `[{"prompt":[` + strings.Repeat("1,", MaxValues+1) + "1]}]", contract.CodeBadData, "line 1, column 400014: the row has more than 200000 values"},
		{"quote never closed", "a.csv", "prompt,completion\n\"a,b\nc,d\n", contract.CodeBadData, "line 2: a quoted field that starts in this row never ends"},
		{"bare quote", "a.csv", "prompt,completion\na\"b,c\n", contract.CodeBadData, "line 2, column 2: broken CSV"},
		{"column twice", "a.csv", "text,text\na,b\n", contract.CodeBadData, `the header names the column "text" twice`},
		{"unknown columns", "a.jsonl", "{\"foo\":1,\"bar\":\"x\"}\n", contract.CodeBadData, `no known format has the columns "foo", "bar" (say what they are by a mapping`},
		{"rows that are not objects", "a.json", "[1,2,3]", contract.CodeBadData, "the rows are not objects"},
		{"rows inside an object", "a.json", "{\n\"data\": [{\"text\":\"a\"}]}", contract.CodeBadData, `one object whose field "data" holds a list (if that list holds the rows`},
		{"one row", "a.jsonl", good, contract.CodeBadData, "only 1 usable row(s)"},
		{"PNG", "a.jsonl", "\x89PNG\r\n\x1a\n", contract.CodeUnsupported, "a PNG image (upload JSON, JSON Lines"},
		{"ZIP", "a.csv", "PK\x03\x04rest", contract.CodeUnsupported, "save the sheet as CSV"},
		{"gzip", "a.jsonl.gz", "\x1f\x8b\x08", contract.CodeUnsupported, "gunzip"},
		{"pickle", "a.pkl", "\x80\x04\x95", contract.CodeUnsupported, "never loaded"},
		{"UTF-32", "a.csv", "\xff\xfe\x00\x00a\x00\x00\x00", contract.CodeUnsupported, "UTF-32 text (save the file with the encoding UTF-8"},
		{"web page", "a.json", "<!DOCTYPE html><html>", contract.CodeUnsupported, "a web page"},
		{"binary", "a.json", "abc\x00def", contract.CodeUnsupported, "binary"},
		{"foreign extension", "a.yaml", "a: b", contract.CodeUnsupported, ".yaml files"},
		{"broken Parquet", "a.parquet", "PAR1 but nothing else", contract.CodeBadData, "the Parquet file does not end as one: it was cut off (upload"},
		{"Parquet that lies about its footer", "a.parquet", "PAR1\x00\x00\x00\xf0PAR1", contract.CodeBadData, "the Parquet file is broken: it says that its metadata is 4026531840 bytes long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := inspect(t, c.file, c.content)
			require.Error(t, err)
			require.Equal(t, c.code, contract.CodeOf(err), err)
			require.Contains(t, err.Error(), c.message)
		})
	}
}

// endless is a row without an end: the readers must stop at their limit, not at the end of memory.
func endless(start, more string) io.Reader {
	return io.MultiReader(strings.NewReader(start), io.LimitReader(&repeat{text: strings.Repeat(more, 4096)}, 10*MaxRowBytes))
}

type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at%len(r.text):])
	r.at += n
	return n, nil
}

func TestRowsWithoutEnd(t *testing.T) {
	for name, source := range map[string]func() io.Reader{
		"a.json":  func() io.Reader { return endless("[{\"text\":\"ok\"},\n{\"text\":\"", "x") },
		"a.jsonl": func() io.Reader { return endless("{\"text\":\"ok\"}\n{\"text\":\"", "x") },
		"a.csv":   func() io.Reader { return endless("text\nok\n\"", "x\n") },
		"a.txt":   func() io.Reader { return endless("ok\n", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			counted := &meter{ctx: t.Context()}
			file, err := Open(t.Context(), Source{Name: name, Open: opener(func() io.Reader {
				counted.r = source()
				return counted
			})})
			require.NoError(t, err)
			counted.read = 0
			err = file.each(t.Context(), Position{}, nil, func(*Row) error { return nil })
			require.Equal(t, contract.CodeBadData, contract.CodeOf(err), err)
			require.Contains(t, err.Error(), "is larger than 16 MiB")
			require.Contains(t, err.Error(), "line ")
			require.Less(t, counted.read, int64(3*MaxRowBytes))
		})
	}
}

// TestSourceFailure: what the source returns is handed on as it is, not taken for broken data.
func TestSourceFailure(t *testing.T) {
	cause := fmt.Errorf("the blob is gone: %w", io.EOF) // which must not pass for the end of the file
	for name, content := range map[string]string{
		"a.json": `[{"text":"a"},`, "a.jsonl": "{\"text\":\"a\"}\n", "a.csv": "text\na\n", "a.txt": "a\n",
	} {
		broken := false
		file, err := Open(t.Context(), Source{Name: name, Open: opener(func() io.Reader {
			if broken {
				return io.MultiReader(strings.NewReader(content), iotest.ErrReader(cause))
			}
			return strings.NewReader(content)
		})})
		require.NoError(t, err)
		broken = true
		err = file.each(t.Context(), Position{}, nil, func(*Row) error { return nil })
		require.ErrorIs(t, err, cause, name)
		require.Equal(t, contract.CodeInternal, contract.CodeOf(err), name)
	}
}

func TestNeedsRandomAccess(t *testing.T) {
	require.True(t, NeedsRandomAccess([]byte("PAR1....")))
	require.False(t, NeedsRandomAccess([]byte("[{")))
	_, err := Open(t.Context(), Source{Name: "a", Open: opener(func() io.Reader { return strings.NewReader("PAR1....") })})
	require.ErrorContains(t, err, "random access")
}

func TestBOMIsNotPartOfTheText(t *testing.T) {
	require.Equal(t, []string{`1:1 {"text":"a"}`}, rowsOf(t, open(t, "a.txt", "\ufeffa")))
	require.True(t, bytes.Equal([]byte("a"), trimBOM([]byte("\ufeffa"))))
}

// Whoever is to say what the columns mean wants to see them, and what is in them.
func TestUnknownColumnsComeWithTheirNamesAndTheFirstRows(t *testing.T) {
	file := open(t, "tickets.csv", "Ticket,Frage,Antwort\n1,Wie?,So.\n2,Wo?,Da.\n")
	profile, err := file.Inspect(t.Context(), Options{}, nil)
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
	require.NotNil(t, profile)
	names := []string{}
	for _, column := range profile.Columns {
		names = append(names, column.Name)
	}
	require.Equal(t, []string{"Ticket", "Frage", "Antwort"}, names)
	require.Len(t, profile.Preview, 2)
	require.JSONEq(t, `{"Ticket":"2","Frage":"Wo?","Antwort":"Da."}`, string(profile.Preview[1].Raw))
	require.Zero(t, profile.Rows, "nothing was counted")

	profile, err = open(t, "b.json", "[1,2,3]").Inspect(t.Context(), Options{}, nil)
	require.Error(t, err)
	require.Nil(t, profile, "there are no columns to show")
}
