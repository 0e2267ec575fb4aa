package dataset

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

// canonicalRows processes content without holding anything out.
func canonicalRows(t *testing.T, file *File, mapping Mapping) (*Stats, []string) {
	t.Helper()
	var train, eval bytes.Buffer
	stats, err := file.Process(t.Context(), ProcessOptions{Mapping: mapping, Split: Split{None: true}, TextChunkChars: -1}, &train, &eval, nil)
	require.NoError(t, err)
	require.Empty(t, eval.String())
	return stats, strings.Split(strings.TrimSpace(train.String()), "\n")
}

// TestFormats shows for every format what its rows become.
func TestFormats(t *testing.T) {
	const system, user, end = `{"role":"system","content":"s"}`, `{"role":"user","content":"q"}`, `{"role":"assistant","content":"a"}`
	const chat = `{"messages":[` + user + `,` + end + `]}`
	const pair = `{"prompt":"q","completion":"a"}`
	const preferred = `{"prompt":[` + user + `],"chosen":[` + end + `],"rejected":[{"role":"assistant","content":"b"}]}`
	const tools = `You may call these tools. To call one, answer with a JSON object with its name and arguments inside <tool_call></tool_call> tags.\n<tools>\n[{\"name\":\"t\"}]\n</tools>`
	for _, c := range []struct {
		name, row string
		format    Format
		canonical Canonical
		want      string
	}{
		{"alpaca", `{"instruction":"q","input":"","output":"a"}`, Alpaca, CanonicalChat, chat},
		{"alpaca with input", `{"instruction":"q","input":"i","output":"a"}`, Alpaca, CanonicalChat, `{"messages":[{"role":"user","content":"q\n\ni"},` + end + `]}`},
		{"alpaca with a system column and a text column", `{"instruction":"q","output":"a","system":"s","text":"all"}`, Alpaca, CanonicalChat, `{"messages":[` + system + `,` + user + `,` + end + `]}`},
		{"dolly", `{"instruction":"q","context":"i","response":"a","category":"qa"}`, Alpaca, CanonicalChat, `{"messages":[{"role":"user","content":"q\n\ni"},` + end + `]}`},
		{"columns in another case", `{"Instruction":"q","Output":"a"}`, Alpaca, CanonicalChat, chat},
		{"sharegpt", `{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}`, ShareGPT, CanonicalChat, chat},
		{"sharegpt with system", `{"system":"s","conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}]}`, ShareGPT, CanonicalChat, `{"messages":[` + system + `,` + user + `,` + end + `]}`},
		{"sharegpt with tools", `{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"q"},{"from":"function_call","value":"{\"name\":\"t\"}"},{"from":"observation","value":"r"},{"from":"gpt","value":"a"}],"tools":"[{\"name\":\"t\"}]"}`,
			ShareGPT, CanonicalChat, `{"messages":[{"role":"system","content":"s\n\n` + tools + `"},` + user + `,{"role":"assistant","content":"<tool_call>\n{\"name\":\"t\"}\n</tool_call>"},{"role":"tool","content":"r"},` + end + `]}`},
		{"tools that are none", `{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"}],"tools":"[]"}`, ShareGPT, CanonicalChat, chat},
		{"ms-swift pairs", `{"conversation":[{"human":"q","assistant":"a"}]}`, ShareGPT, CanonicalChat, chat},
		{"conversations of role and content", `{"conversations":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, Messages, CanonicalChat, chat},
		{"messages", `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, Messages, CanonicalChat, chat},
		{"messages with parts, developer and tool calls", `{"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"t","arguments":"{\"x\":1}"}}]},{"role":"tool","tool_call_id":"1","content":"r"},{"role":"assistant","content":"a"}],"tools":[{"name":"t"}]}`,
			Messages, CanonicalChat, `{"messages":[{"role":"system","content":"s\n\n` + tools + `"},` + user + `,{"role":"assistant","content":"<tool_call>\n{\"name\": \"t\", \"arguments\": {\"x\":1}}\n</tool_call>"},{"role":"tool","content":"r"},` + end + `]}`},
		{"prompt and completion", `{"prompt":"q","completion":"a"}`, PromptCompletion, CanonicalPromptCompletion, pair},
		{"white space of a completion", `{"prompt":"q:","completion":" a\n"}`, PromptCompletion, CanonicalPromptCompletion, `{"prompt":"q:","completion":" a\n"}`},
		{"prompt and completion beside an answer", `{"prompt":"q","completion":"a","answer":"b"}`, PromptCompletion, CanonicalPromptCompletion, pair},
		{"question and completion", `{"question":"q","completion":"a"}`, PromptCompletion, CanonicalPromptCompletion, pair},
		{"prompt and response", `{"prompt":"q","response":"a"}`, QuestionAnswer, CanonicalChat, chat},
		{"query and response", `{"query":"q","response":"a"}`, QuestionAnswer, CanonicalChat, chat},
		{"question and answer", `{"id":7,"question":"q","answer":"a"}`, QuestionAnswer, CanonicalChat, chat},
		{"question, context and answer", `{"question":"q","context":"i","answer":"a"}`, QuestionAnswer, CanonicalChat, `{"messages":[{"role":"user","content":"q\n\ni"},` + end + `]}`},
		{"question and answer with system", `{"question":"q","answer":"a","system":"s"}`, QuestionAnswer, CanonicalChat, `{"messages":[` + system + `,` + user + `,` + end + `]}`},
		{"question as turns", `{"question":[{"role":"user","content":"q"}],"answer":"a"}`, QuestionAnswer, CanonicalChat, chat},
		{"answer as turns", `{"prompt":"q","response":[{"role":"assistant","content":"a"}]}`, QuestionAnswer, CanonicalChat, chat},
		{"input and output", `{"input":"q","output":"a"}`, QuestionAnswer, CanonicalChat, chat},
		{"prompt and completion with system", `{"prompt":"q","completion":"a","system":"s"}`, PromptCompletion, CanonicalChat, `{"messages":[` + system + `,` + user + `,` + end + `]}`},
		{"prompt and completion as conversations", `{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}`, PromptCompletion, CanonicalChat, chat},
		{"preference in texts", `{"prompt":"q","chosen":"a","rejected":"b"}`, Preference, CanonicalPreference, preferred},
		{"preference in alpaca's columns", `{"instruction":"q","input":"i","chosen":"a","rejected":"b"}`, Preference, CanonicalPreference,
			`{"prompt":[{"role":"user","content":"q\n\ni"}],"chosen":[` + end + `],"rejected":[{"role":"assistant","content":"b"}]}`},
		{"preference in conversations", `{"conversations":[{"from":"human","value":"q"}],"chosen":{"from":"gpt","value":"a"},"rejected":{"from":"gpt","value":"b"}}`, Preference, CanonicalPreference, preferred},
		{"preference in OpenAI's columns", `{"input":{"messages":[{"role":"user","content":"q"}]},"preferred_output":[{"role":"assistant","content":"a"}],"non_preferred_output":[{"role":"assistant","content":"b"}]}`, Preference, CanonicalPreference, preferred},
		{"preference whose answers repeat the prompt", `{"prompt":"q","chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`, Preference, CanonicalPreference, preferred},
		{"preference without a prompt column", `{"chosen":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"q"},{"role":"assistant","content":"b"}]}`, Preference, CanonicalPreference, preferred},
		{"text", `{"text":"t","url":"u"}`, PlainText, CanonicalText, `{"text":"t"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			stats, rows := canonicalRows(t, open(t, "a.jsonl", c.row+"\n"+c.row+"\n"), nil)
			require.Equal(t, c.format, stats.Format)
			require.Equal(t, c.canonical, stats.Canonical)
			require.Equal(t, []string{c.want, c.want}, rows)
		})
	}
}

// TestConversationsInTables: a cell of a CSV file may hold the list as JSON text.
func TestConversationsInTables(t *testing.T) {
	cell := `"[{""role"":""user"",""content"":""q""},{""role"":""assistant"",""content"":""a""}]"`
	_, rows := canonicalRows(t, open(t, "a.csv", "messages\n"+cell+"\n"+cell+"\n"), nil)
	require.Equal(t, `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, rows[0])

	_, err := inspect(t, "a.csv", "messages\n\"[{'role': 'user'}]\"\n\"[{'role': 'user'}]\"\n")
	require.ErrorContains(t, err, "row 1 (line 2), messages: messages is text that is not a JSON list of turns; it looks like Python's notation")
}

func TestOptionalColumnThatAppearsLate(t *testing.T) {
	row := `{"instruction":"q","output":"a"}` + "\n"
	_, rows := canonicalRows(t, open(t, "a.jsonl", strings.Repeat(row, sampleRows+5)+`{"instruction":"q","output":"a","system":"s"}`), nil)
	require.Equal(t, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, rows[len(rows)-1])
}

func TestMapping(t *testing.T) {
	content := "Frage;Antwort;prompt;completion\nq;a;x;y\nq;a;x;y\n"
	_, rows := canonicalRows(t, open(t, "a.csv", content), Mapping{RolePrompt: "Frage", RoleCompletion: "Antwort"})
	require.Equal(t, `{"prompt":"q","completion":"a"}`, rows[0])
	stats, rows := canonicalRows(t, open(t, "a.csv", content), Mapping{RoleInstruction: "Frage", RoleOutput: "Antwort"})
	require.Equal(t, CanonicalChat, stats.Canonical)
	require.Equal(t, `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, rows[0])
	_, rows = canonicalRows(t, open(t, "a.csv", "question;answer\nq;a\nq;a\n"), Mapping{RolePrompt: "question"})
	require.Equal(t, `{"prompt":"q","completion":"a"}`, rows[0], "who maps a prompt gets a bare pair")
	stats, rows = canonicalRows(t, open(t, "a.csv", "question;Antwort\nq;a\nq;a\n"), Mapping{RoleOutput: "Antwort"})
	require.Equal(t, CanonicalChat, stats.Canonical)
	require.Equal(t, `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`, rows[0])
	_, rows = canonicalRows(t, open(t, "a.csv", content), Mapping{RoleText: "Antwort"})
	require.Equal(t, `{"text":"a"}`, rows[0])

	for _, c := range []struct {
		mapping Mapping
		field   string
		message string
	}{
		{Mapping{RolePrompt: "nope"}, "mapping.prompt", `the column "nope", which the file does not have (the columns are: "Frage", "Antwort", "prompt", "completion")`},
		{Mapping{RoleChosen: "Frage"}, "mapping", "does not make up a format"},
		{Mapping{"odd": "Frage"}, "mapping", "does not make up a format"},
	} {
		_, err := open(t, "a.csv", content).Detect(t.Context(), c.mapping)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err))
		require.ErrorContains(t, err, c.message)
		var typed *contract.Error
		require.ErrorAs(t, err, &typed)
		require.Equal(t, c.field, typed.Field)
	}
}

// TestIssues puts one faulty row among good ones and looks at what is cited.
func TestIssues(t *testing.T) {
	alpaca := `{"instruction":"q","output":"a"}`
	answered := `{"question":"q","answer":"a"}`
	chat := `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}`
	pair := `{"prompt":"q","chosen":"a","rejected":"b"}`
	turns := func(list string) string { return `{"messages":[` + list + `]}` }
	user, assistant := `{"role":"user","content":"q"}`, `{"role":"assistant","content":"a"}`
	for _, c := range []struct {
		name, good, row string
		field, code     string
		severity        Severity
	}{
		{"missing output", alpaca, `{"instruction":"q"}`, "output", IssueMissingField, SeverityError},
		{"null output", alpaca, `{"instruction":"q","output":null}`, "output", IssueMissingField, SeverityError},
		{"empty output", alpaca, `{"instruction":"q","output":" \n"}`, "output", IssueEmptyField, SeverityError},
		{"empty question", alpaca, `{"instruction":"","output":"a"}`, "instruction", IssueEmptyField, SeverityError},
		{"missing answer", answered, `{"question":"q"}`, "answer", IssueMissingField, SeverityError},
		{"missing question", answered, `{"answer":"a"}`, "question", IssueEmptyField, SeverityError},
		{"list as output", alpaca, `{"instruction":"q","output":["a"]}`, "output", IssueWrongType, SeverityError},
		{"number as output", alpaca, `{"instruction":"q","output":4}`, "output", IssueNumberAsText, SeverityWarning},
		{"another format", alpaca, `{"text":"t"}`, "", IssueMixedSchema, SeverityError},
		{"not an object", alpaca, `[1]`, "", IssueNotAnObject, SeverityError},
		{"NUL", alpaca, `{"instruction":"q","output":"a\u0000"}`, "", IssueNUL, SeverityError},
		{"control token", alpaca, `{"instruction":"q <|im_end|>","output":"a"}`, "", IssueSpecialTokens, SeverityWarning},
		{"control token of Llama 2", alpaca, `{"instruction":"q [/INST]","output":"a"}`, "", IssueSpecialTokens, SeverityWarning},
		{"ends with the user", chat, turns(user), "messages", IssueLastTurn, SeverityError},
		{"no turns", chat, turns(""), "messages", IssueEmptyField, SeverityError},
		{"unknown role", chat, turns(user + `,{"role":"wizard","content":"a"}`), "messages[1].role", IssueUnknownRole, SeverityError},
		{"no role", chat, turns(user + `,{"content":"a"}`), "messages[1].role", IssueMissingField, SeverityError},
		{"no content", chat, turns(user + `,{"role":"assistant"}`), "messages[1].content", IssueMissingField, SeverityError},
		{"empty answer", chat, turns(user + `,{"role":"assistant","content":""}`), "messages", IssueEmptyField, SeverityError},
		{"empty turn before", chat, turns(`{"role":"user","content":""},` + assistant), "messages[0]", IssueEmptyField, SeverityWarning},
		{"image", chat, turns(`{"role":"user","content":[{"type":"image_url","image_url":{}}]},` + assistant), "messages[0].content", IssueContent, SeverityError},
		{"turn that is text", chat, turns(`"q"`), "messages[0]", IssueWrongType, SeverityError},
		{"same role twice", chat, turns(user + `,` + user + `,` + assistant), "messages[1]", IssueSameRole, SeverityWarning},
		{"late system", chat, turns(user + `,{"role":"system","content":"s"},` + assistant), "messages[1]", IssueSystemLate, SeverityWarning},
		{"nobody asks", chat, turns(assistant), "messages", IssueNoUserTurn, SeverityWarning},
		{"tool call that is not JSON", chat, turns(user + `,{"role":"assistant","tool_calls":[{"function":{"name":"t","arguments":"{"}}]}`), "messages[1].tool_calls", IssueToolCall, SeverityWarning},
		{"weight", chat, turns(user + `,{"role":"assistant","content":"a","weight":0}`), "messages[1].weight", IssueWeight, SeverityWarning},
		{"identical pair", pair, `{"prompt":"q","chosen":"a","rejected":"a"}`, "rejected", IssueIdenticalPair, SeverityError},
		{"pair without prompt", pair, `{"chosen":"a","rejected":"b"}`, "prompt", IssueEmptyField, SeverityWarning},
		{"chosen that ends with the user", pair, `{"prompt":"q","chosen":[{"role":"user","content":"x"}],"rejected":"b"}`, "chosen", IssueLastTurn, SeverityError},
	} {
		t.Run(c.name, func(t *testing.T) {
			profile, err := inspect(t, "a.jsonl", strings.Repeat(c.good+"\n", 5)+c.row+"\n"+c.good+"\n")
			require.NoError(t, err)
			require.Len(t, profile.Issues.Cited, 1)
			issue := profile.Issues.Cited[0]
			require.NotEmpty(t, issue.Message)
			require.Equal(t, Issue{Row: 6, Line: 6, Field: c.field, Code: c.code, Severity: c.severity, Message: issue.Message}, issue)
			invalid := int64(0)
			if c.severity == SeverityError {
				invalid = 1
			}
			require.Equal(t, invalid, profile.InvalidRows)
			require.Equal(t, 7-invalid, profile.ValidRows)
			require.Equal(t, invalid == 1, string(profile.Preview[5].Canonical) == "null")
		})
	}
}

func TestFieldCountOfATable(t *testing.T) {
	profile, err := inspect(t, "a.csv", "prompt,completion\n"+strings.Repeat("q,a\n", 9)+"q\n")
	require.NoError(t, err)
	require.Equal(t, []IssueCount{{IssueFieldCount, SeverityError, 1}}, profile.Issues.Counts)
	require.Equal(t, int64(11), profile.Issues.Cited[0].Line)
}

// TestInvalidRowsAreCountedInFullAndCitedInPart and decide whether the dataset can be used.
func TestInvalidRowsAreCountedInFullAndCitedInPart(t *testing.T) {
	good, bad := `{"text":"a"}`+"\n", `{"text":""}`+"\n"
	profile, err := inspect(t, "a.jsonl", strings.Repeat(good, 800)+strings.Repeat(bad, 200))
	require.NoError(t, err)
	require.Equal(t, int64(200), profile.Issues.Errors)
	require.Len(t, profile.Issues.Cited, maxCitedPerCode)

	profile, err = inspect(t, "a.jsonl", strings.Repeat(good, 799)+strings.Repeat(bad, 201))
	require.Equal(t, contract.CodeBadData, contract.CodeOf(err))
	require.ErrorContains(t, err, "201 of 1000 rows are invalid; the first is row 800 (line 800), text: text is empty")
	require.NotNil(t, profile, "the rows can be shown")
}
