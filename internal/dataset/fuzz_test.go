package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// fuzzFile is what must hold for any bytes under any name: no panic; errors are typed; a profile is JSON and its counts
// add up; processing what passed inspection loses no row, and every line it writes is JSON.
func fuzzFile(t *testing.T, name string, content []byte) {
	ctx := context.Background()
	file, err := Open(ctx, FromBytes(name, content))
	if err != nil {
		requireTyped(t, err)
		return
	}
	profile, err := file.Inspect(ctx, Options{}, nil)
	if err != nil {
		requireTyped(t, err)
		return
	}
	_, err = json.Marshal(profile)
	require.NoError(t, err)
	require.Equal(t, profile.Rows, profile.ValidRows+profile.InvalidRows)
	require.Equal(t, profile.ValidRows, profile.Duplicates.Rows+profile.Duplicates.Distinct)

	var train, eval bytes.Buffer
	stats, err := file.Process(ctx, ProcessOptions{Deduplicate: true}, &train, &eval, nil)
	if err != nil {
		requireTyped(t, err)
		return
	}
	dropped := int64(0)
	for _, n := range stats.Dropped {
		dropped += n
	}
	require.Equal(t, stats.Candidates, stats.Train.Rows+stats.Eval.Rows+dropped)
	for line := range bytes.Lines(append(train.Bytes(), eval.Bytes()...)) {
		require.True(t, json.Valid(line), "%q", line)
	}
}

func requireTyped(t *testing.T, err error) {
	t.Helper()
	require.Contains(t, []contract.Code{contract.CodeBadData, contract.CodeUnsupported}, contract.CodeOf(err), "%v", err)
}

func fuzzOne(f *testing.F, name string, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) { fuzzFile(t, name, content) })
}

const (
	seedChat   = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"text","text":"a"}],"tool_calls":[{"function":{"name":"t","arguments":"{}"}}]}],"tools":[1]}`
	seedShare  = `{"conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"{}"},{"from":"observation","value":"r"},{"from":"gpt","value":"a"}],"system":"s"}`
	seedPrefer = `{"prompt":"q","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":"b"}`
	seedAlpaca = `{"instruction":"q","input":null,"output":4}`
)

func FuzzJSON(f *testing.F) {
	fuzzOne(f, "a.json", "["+seedChat+","+seedChat+"]", "[\n"+seedShare+",\n"+seedShare+"\n]", "["+seedPrefer+"]", "{\n\"text\":\"\\u0000\"}\n{\"text\":\"b\"}", "[[],{}]")
}

func FuzzJSONL(f *testing.F) {
	fuzzOne(f, "a.jsonl", seedChat+"\n"+seedChat, seedShare+"\r\n"+seedAlpaca, seedPrefer+"\n"+seedPrefer, seedAlpaca+"\n"+seedAlpaca+"\n", "{\"a\":\"\\ud800\"}\n")
}

func FuzzCSV(f *testing.F) {
	fuzzOne(f, "a.csv", "prompt,completion\na,b\n\"c\nd\",e\n", "text;split\na;train\nb;test\n", "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"q\"\"}]\"\n", "a\tb\n\"\n")
}

func FuzzText(f *testing.F) {
	fuzzOne(f, "a.txt", "one\n\ntwo\n", "\ufeff[x\r\n{", "a. b! c?")
}

// FuzzEncoding: text that is not UTF-8, and text that is not quite UTF-16.
func FuzzEncoding(f *testing.F) {
	const table = "prompt;completion\nÀ la carte;café\nNaïve?;Oui – “non”…\n"
	for _, in := range []encoding{asUTF8, asUTF16LE, asUTF16BE, asWindows1252} {
		mark := "\ufeff"
		if in == asWindows1252 {
			mark = ""
		}
		for _, name := range []string{"a.csv", "a.txt", "a.jsonl"} {
			f.Add(name, []byte(writtenText(in, mark+table)))
			f.Add(name, []byte(writtenText(in, mark+seedAlpaca+"\n"+seedShare)))
		}
	}
	f.Add("a.txt", []byte("\xff\xfe\x00\xd8a\x00\x00"))
	f.Fuzz(fuzzFile)
}

// FuzzDetection lets the name vary too.
func FuzzDetection(f *testing.F) {
	for _, seed := range []string{seedChat, "[" + seedPrefer, "question,answer\na,b\nc,d", "PAR1", "\x89PNG", "plain", "<html>"} {
		for _, name := range []string{"a", "a.json", "a.csv", "a.md", "x.parquet", ".gz"} {
			f.Add(name, []byte(seed))
		}
	}
	f.Fuzz(fuzzFile)
}

func FuzzParquet(f *testing.F) {
	f.Add(testdata(f, "nested.parquet"))
	f.Add(testdata(f, "pairs.parquet"))
	f.Fuzz(func(t *testing.T, content []byte) { fuzzFile(t, "a.parquet", content) })
}
