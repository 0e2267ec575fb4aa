package dataset

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// Format is how a file's rows say what they mean.
type Format string

// Formats that are detected.
const (
	Preference       Format = "preference"        // prompt, chosen, rejected
	Messages         Format = "messages"          // OpenAI: messages of role and content
	ShareGPT         Format = "sharegpt"          // conversations of from and value
	Alpaca           Format = "alpaca"            // instruction, input, output
	PromptCompletion Format = "prompt_completion" // prompt, completion
	QuestionAnswer   Format = "question_answer"   // question, answer
	PlainText        Format = "text"              // text
)

// Canonical is what a processed row looks like; contract.DatasetRef.Format carries it to the runner.
type Canonical string

// Canonical forms, one JSON object a line.
const (
	CanonicalChat             Canonical = "chat"              // {"messages":[{"role","content"}…]}
	CanonicalPromptCompletion Canonical = "prompt_completion" // {"prompt","completion"}
	CanonicalText             Canonical = "text"              // {"text"}
	CanonicalPreference       Canonical = "preference"        // {"prompt":[…],"chosen":[…],"rejected":[…]}, each a message list
)

// Role is what a column is for.
type Role string

// Roles, the keys of a Mapping.
const (
	RoleMessages    Role = "messages"
	RoleSystem      Role = "system"
	RoleTools       Role = "tools"
	RoleInstruction Role = "instruction"
	RoleInput       Role = "input"
	RoleOutput      Role = "output"
	RolePrompt      Role = "prompt"
	RoleCompletion  Role = "completion"
	RoleText        Role = "text"
	RoleChosen      Role = "chosen"
	RoleRejected    Role = "rejected"
	RoleSplit       Role = "split"
)

// Mapping says which column plays a role; it overrides the names that are known.
type Mapping map[Role]string

// slot is a role of a format and the column names that are taken for it, best first, compared without case.
type slot struct {
	role  Role
	names []string
}

type schema struct {
	format    Format
	canonical Canonical
	required  []slot
	optional  []slot
}

var (
	systemSlot = slot{RoleSystem, []string{"system", "system_prompt"}}
	toolsSlot  = slot{RoleTools, []string{"tools", "functions"}}
	splitSlot  = slot{RoleSplit, []string{"split"}}

	askedNames  = []string{"prompt", "query", "question", "input"}
	answerNames = []string{"response", "answer", "output"}
)

// schemas in order of preference: the more a format says, the earlier it stands.
var schemas = []schema{
	{
		format: Preference, canonical: CanonicalPreference,
		required: []slot{{RoleChosen, []string{"chosen", "preferred_output"}}, {RoleRejected, []string{"rejected", "non_preferred_output"}}},
		optional: []slot{
			{RolePrompt, []string{"prompt", "conversations", "messages", "instruction", "question", "query", "input"}},
			{RoleInput, []string{"input"}}, systemSlot, toolsSlot, splitSlot,
		},
	},
	{
		format: Messages, canonical: CanonicalChat,
		required: []slot{{RoleMessages, []string{"messages"}}},
		optional: []slot{systemSlot, toolsSlot, splitSlot},
	},
	{
		format: ShareGPT, canonical: CanonicalChat,
		required: []slot{{RoleMessages, []string{"conversations", "conversation"}}},
		optional: []slot{systemSlot, toolsSlot, splitSlot},
	},
	{
		format: Alpaca, canonical: CanonicalChat,
		required: []slot{{RoleInstruction, []string{"instruction"}}, {RoleOutput, []string{"output", "response"}}},
		optional: []slot{{RoleInput, []string{"input", "context"}}, systemSlot, splitSlot},
	},
	{
		format: PromptCompletion, canonical: CanonicalPromptCompletion,
		required: []slot{{RolePrompt, askedNames}, {RoleCompletion, []string{"completion"}}},
		optional: []slot{systemSlot, splitSlot},
	},
	{
		// Who has answers expects to ask: such rows are turns of a chat, as they will be asked for. A completion goes on with
		// a text.
		format: QuestionAnswer, canonical: CanonicalChat,
		required: []slot{{RoleInstruction, askedNames}, {RoleOutput, answerNames}},
		optional: []slot{{RoleInput, []string{"context"}}, systemSlot, splitSlot},
	},
	{
		// Where the prompt is mapped, or the completion, the other may have any of its names.
		format: PromptCompletion, canonical: CanonicalPromptCompletion,
		required: []slot{{RolePrompt, askedNames}, {RoleCompletion, append([]string{"completion"}, answerNames...)}},
		optional: []slot{systemSlot, splitSlot},
	},
	{
		format: PlainText, canonical: CanonicalText,
		required: []slot{{RoleText, []string{"text"}}},
		optional: []slot{splitSlot},
	},
}

// knownColumn says whether any format has a column of that name.
func knownColumn(name string) bool {
	for _, s := range schemas {
		for _, slot := range append(slices.Clone(s.required), s.optional...) {
			if slices.Contains(slot.names, strings.ToLower(name)) {
				return true
			}
		}
	}
	return false
}

// layout is a format applied to a file: which column plays which role.
type layout struct {
	schema    *schema
	format    Format
	canonical Canonical
	columns   map[Role]string
	sampled   []string // the columns of the first rows
}

// get returns what plays the role in the row, nil if nothing does.
func (l *layout) get(row *Value, role Role) *Value {
	name, ok := l.columns[role]
	if !ok {
		return nil
	}
	return row.Get(name)
}

// sample is what the first rows show: the columns in order of appearance, and the kind of their first value.
type sample struct {
	rows    int
	names   []string
	kinds   map[string]Kind
	hasRole map[string]bool // the column's messages carry "role", not "from"
}

const sampleRows = 50

func newSample() *sample { return &sample{kinds: map[string]Kind{}, hasRole: map[string]bool{}} }

func (s *sample) add(row *Value) {
	s.rows++
	if row.Kind != Object {
		return
	}
	for i := range row.Items {
		member := &row.Items[i]
		if kind, seen := s.kinds[member.Name]; !seen && len(s.names) < MaxColumns {
			s.names = append(s.names, member.Name)
		} else if kind != Null {
			continue
		}
		s.kinds[member.Name] = member.Kind
		if member.Kind == List && len(member.Items) > 0 && member.Items[0].Get("role") != nil {
			s.hasRole[member.Name] = true
		}
	}
}

// column finds a column by name without regard to case; an exact match wins.
func (s *sample) column(name string) (string, bool) {
	if _, ok := s.kinds[name]; ok {
		return name, true
	}
	for _, have := range s.names {
		if strings.EqualFold(have, name) {
			return have, true
		}
	}
	return "", false
}

// detect finds the format of the sampled rows.
func detect(s *sample, mapping Mapping) (*layout, error) {
	for role, column := range mapping {
		if _, ok := s.kinds[column]; !ok {
			return nil, contract.Errorf(contract.CodeInvalid, "the mapping names the column %q, which the file does not have", column).
				On("mapping."+string(role)).Mend("the columns are: %s", s.list())
		}
	}
	for i := range schemas {
		if columns := schemas[i].match(s, mapping); columns != nil {
			return finishLayout(&schemas[i], columns, s), nil
		}
	}
	return nil, unknownColumns(s, mapping)
}

// match assigns columns to roles; nil if a required role has none or a mapped role is not one of the format's.
func (s *schema) match(have *sample, mapping Mapping) map[Role]string {
	columns, used := map[Role]string{}, map[string]bool{}
	for role, column := range mapping {
		if !s.has(role) {
			return nil
		}
		columns[role], used[column] = column, true
	}
	for _, slot := range s.required {
		if !slot.assign(have, columns, used) {
			return nil
		}
	}
	for _, slot := range s.optional {
		slot.assign(have, columns, used)
	}
	return columns
}

func (s *schema) has(role Role) bool {
	is := func(slot slot) bool { return slot.role == role }
	return slices.ContainsFunc(s.required, is) || slices.ContainsFunc(s.optional, is)
}

func (s slot) assign(have *sample, columns map[Role]string, used map[string]bool) bool {
	if columns[s.role] != "" {
		return true
	}
	for _, name := range s.names {
		if column, ok := have.column(name); ok && !used[column] {
			columns[s.role], used[column] = column, true
			return true
		}
	}
	return false
}

// finishLayout settles what the columns' values decide, and lets optional columns that the sample does not show count
// when a later row has them.
func finishLayout(s *schema, columns map[Role]string, have *sample) *layout {
	l := &layout{schema: s, format: s.format, canonical: s.canonical, columns: columns, sampled: have.names}
	if s.format == ShareGPT && have.hasRole[columns[RoleMessages]] {
		l.format = Messages
	}
	_, withSystem := columns[RoleSystem]
	asLists := have.kinds[columns[RolePrompt]] == List || have.kinds[columns[RoleCompletion]] == List
	if s.format == PromptCompletion && (withSystem || asLists) {
		l.canonical = CanonicalChat
	}
	taken := slices.Collect(maps.Values(columns))
	for _, slot := range s.optional {
		if columns[slot.role] == "" && !slices.Contains(taken, slot.names[0]) {
			columns[slot.role] = slot.names[0]
			taken = append(taken, slot.names[0])
		}
	}
	return l
}

func (s *sample) list() string {
	const most = 30
	if len(s.names) == 0 {
		return "(none)"
	}
	quoted := make([]string, 0, most)
	for _, name := range s.names[:min(len(s.names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", cutUTF8([]byte(name), 80)))
	}
	list := strings.Join(quoted, ", ")
	if len(s.names) > most {
		list += fmt.Sprintf(" and %d more", len(s.names)-most)
	}
	return list
}

func unknownColumns(s *sample, mapping Mapping) error {
	if len(mapping) > 0 {
		return contract.Errorf(contract.CodeInvalid, "the mapping %v does not make up a format", mapping).On("mapping").
			Mend("map prompt and completion, or instruction and output, or messages, or text, or chosen and rejected; the columns are: %s", s.list())
	}
	if len(s.names) == 0 {
		return contract.Errorf(contract.CodeBadData, "the rows are not objects with named columns").
			Mend(`write each row as an object, for example {"prompt": "…", "completion": "…"}`)
	}
	if len(s.names) == 1 && s.kinds[s.names[0]] == List && s.rows == 1 {
		return contract.Errorf(contract.CodeBadData, "the file is one object whose field %q holds a list", s.names[0]).
			Mend("if that list holds the rows, upload the list by itself: a JSON array, or one object a line")
	}
	return contract.Errorf(contract.CodeBadData, "no known format has the columns %s", s.list()).On("mapping").
		Mend(`say what they are by a mapping, for example {"prompt": "%s", "completion": "…"}; known are messages, conversations, `+
			`instruction + output, question + answer (query + response, input + output), prompt + completion, chosen + rejected, and text`, s.names[0])
}
