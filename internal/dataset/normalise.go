package dataset

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// normaliser turns rows into examples and says what is wrong with them.
type normaliser struct {
	layout *layout
	row    *Row
	out    example
	issues []Issue
	failed bool
	text   arena         // texts composed here
	cells  []*jsonParser // parse lists that stand as JSON text in a cell of CSV or Parquet; one a cell, for their memory
	used   int
}

func newNormaliser(l *layout) *normaliser { return &normaliser{layout: l} }

// normalise returns the row's example, nil if it is invalid, and its issues; both valid until the next call.
func (n *normaliser) normalise(row *Row) (*example, []Issue) {
	n.row, n.issues, n.failed, n.used = row, n.issues[:0], false, 0
	n.text.reset()
	n.out = example{
		canonical: n.layout.canonical,
		messages:  n.out.messages[:0], chosen: n.out.chosen[:0], rejected: n.out.rejected[:0],
	}
	n.build()
	if n.failed {
		return nil, n.issues
	}
	n.checkTexts()
	if n.failed {
		return nil, n.issues
	}
	return &n.out, n.issues
}

func (n *normaliser) build() {
	row := n.row
	switch {
	case row.Fault != nil:
		fault := *row.Fault
		n.add(fault)
		return
	case row.Value.Kind != Object:
		n.err(IssueNotAnObject, "", "the row is %s, not an object with named columns", row.Value.Kind)
		return
	case len(row.Value.Items) > MaxColumns:
		n.err(IssueWrongType, "", "the row has %d columns, more than %d", len(row.Value.Items), MaxColumns)
		return
	case n.isForeign():
		n.err(IssueMixedSchema, "", "the row has none of the columns of the format %s that the file's first rows have", n.layout.format)
		return
	}
	switch n.layout.schema.format {
	case Preference:
		n.preference()
	case Messages, ShareGPT:
		n.conversation()
	case Alpaca:
		n.alpaca()
	case QuestionAnswer:
		n.questionAnswer()
	case PromptCompletion:
		n.promptCompletion()
	case PlainText:
		n.out.text = n.need(RoleText)
	}
}

// isForeign: the row has not one of the columns that its format needs.
func (n *normaliser) isForeign() bool {
	for _, slot := range n.layout.schema.required {
		if n.get(slot.role) != nil {
			return false
		}
	}
	return true
}

func (n *normaliser) get(role Role) *Value { return n.layout.get(&n.row.Value, role) }

func (n *normaliser) add(issue Issue) {
	issue.Row, issue.Line = n.row.Number, n.row.Line
	n.issues = append(n.issues, issue)
	n.failed = n.failed || issue.Severity == SeverityError
}

func (n *normaliser) err(code, field, format string, args ...any) {
	n.add(Issue{Code: code, Field: field, Severity: SeverityError, Message: fmt.Sprintf(format, args...)})
}

func (n *normaliser) warn(code, field, format string, args ...any) {
	n.add(Issue{Code: code, Field: field, Severity: SeverityWarning, Message: fmt.Sprintf(format, args...)})
}

// column is the name of the column that plays the role, for messages.
func (n *normaliser) column(role Role) string { return n.layout.columns[role] }

// need returns the text of a role that must not be empty.
func (n *normaliser) need(role Role) []byte {
	v := n.get(role)
	if v.absent() {
		n.err(IssueMissingField, n.column(role), "%s is missing", n.column(role))
		return nil
	}
	text := n.scalar(v, n.column(role))
	if !n.failed && blank(text) {
		n.err(IssueEmptyField, n.column(role), "%s is empty", n.column(role))
	}
	return text
}

// want returns the text of a role that may be missing or empty.
func (n *normaliser) want(role Role) []byte {
	if v := n.get(role); !v.absent() {
		return n.scalar(v, n.column(role))
	}
	return nil
}

func (n *normaliser) scalar(v *Value, field string) []byte {
	switch v.Kind {
	case String:
		return v.Text
	case Number, Bool:
		n.warn(IssueNumberAsText, field, "%s is %s; it is used as text", field, v.Kind)
		return v.Text
	}
	n.err(IssueWrongType, field, "%s is %s where text is needed", field, v.Kind)
	return nil
}

func blank(text []byte) bool { return len(bytes.TrimSpace(text)) == 0 }

// join puts texts that are not blank together, a blank line between them.
func (n *normaliser) join(parts ...[]byte) []byte {
	start := len(n.text.text)
	for _, part := range parts {
		if blank(part) {
			continue
		}
		if len(n.text.text) > start {
			n.text.text = append(n.text.text, "\n\n"...)
		}
		n.text.text = append(n.text.text, part...)
	}
	return n.text.text[start:len(n.text.text):len(n.text.text)]
}

// alpaca becomes a chat: the instruction and, after a blank line, its input are the user's turn.
func (n *normaliser) alpaca() {
	instruction, input, output := n.want(RoleInstruction), n.want(RoleInput), n.need(RoleOutput)
	question := n.join(instruction, input)
	if !n.failed && len(question) == 0 {
		n.err(IssueEmptyField, n.column(RoleInstruction), "%s is empty", n.column(RoleInstruction))
	}
	n.out.messages = appendSystem(n.out.messages, n.want(RoleSystem))
	n.out.messages = append(n.out.messages, message{roleUser, question}, message{roleAssistant, output})
}

// questionAnswer becomes a chat of one question, as alpaca's rows do, or of the turns that its columns hold.
func (n *normaliser) questionAnswer() {
	if isTurns(n.get(RoleInstruction)) || isTurns(n.get(RoleOutput)) {
		n.exchange(RoleInstruction, RoleOutput)
		return
	}
	n.alpaca()
}

// promptCompletion stays a pair of texts, unless the file has a system column or its prompts are conversations: then the
// rows become chats.
func (n *normaliser) promptCompletion() {
	if n.layout.canonical == CanonicalChat {
		n.exchange(RolePrompt, RoleCompletion)
		return
	}
	n.out.prompt = n.join(n.want(RoleSystem), n.want(RolePrompt))
	n.out.completion = n.need(RoleCompletion)
	if v := n.get(RolePrompt); v == nil {
		n.err(IssueMissingField, n.column(RolePrompt), "%s is missing", n.column(RolePrompt))
	} else if !n.failed && len(n.out.prompt) == 0 {
		n.warn(IssueEmptyField, n.column(RolePrompt), "%s is empty", n.column(RolePrompt))
	}
	if prompt := n.want(RolePrompt); blank(n.want(RoleSystem)) && !n.failed {
		n.out.prompt = prompt // as it stands: white space before a completion is the author's business
	}
}

// exchange is a chat of what was asked and what was answered, each a text or turns.
func (n *normaliser) exchange(asked, answered Role) {
	n.out.messages = appendSystem(n.out.messages, n.want(RoleSystem))
	n.side(asked, roleUser, &n.out.messages)
	n.side(answered, roleAssistant, &n.out.messages)
	n.checkChat(n.out.messages, n.column(answered))
}

func appendSystem(messages []message, system []byte) []message {
	if blank(system) {
		return messages
	}
	return append(messages, message{roleSystem, system})
}

// conversation is a list of turns with an optional system text and tools beside it.
func (n *normaliser) conversation() {
	system := n.join(n.want(RoleSystem), n.tools())
	n.out.messages = appendSystem(n.out.messages, system)
	n.turns(n.get(RoleMessages), n.column(RoleMessages), &n.out.messages)
	n.mergeSystem(len(system) > 0)
	n.checkChat(n.out.messages, n.column(RoleMessages))
}

// mergeSystem makes one system turn of the column's and the conversation's own.
func (n *normaliser) mergeSystem(fromColumn bool) {
	m := n.out.messages
	if n.failed || !fromColumn || len(m) < 2 || m[1].role != roleSystem {
		return
	}
	m[1].content = n.join(m[1].content, m[0].content)
	n.out.messages = append(m[:0], m[1:]...)
}

// tools words the tools column for the system turn, the way Qwen and Hermes models know it; templates differ too much in
// how they take tools apart from it.
func (n *normaliser) tools() []byte {
	v := n.get(RoleTools)
	if v.absent() || v.Kind == List && len(v.Items) == 0 {
		return nil
	}
	start := len(n.text.text)
	n.text.text = append(n.text.text, toolsBefore...)
	mark := len(n.text.text)
	if v.Kind == String {
		n.text.text = append(n.text.text, bytes.TrimSpace(v.Text)...)
	} else {
		n.text.text = v.appendJSON(n.text.text, 0)
	}
	if list := n.text.text[mark:]; len(list) == 0 || string(list) == "[]" || string(list) == "{}" {
		n.text.text = n.text.text[:start]
		return nil
	} else if !jsontext.Value(list).IsValid() {
		n.warn(IssueToolCall, n.column(RoleTools), "%s is not JSON; it is used as it stands", n.column(RoleTools))
	}
	n.text.text = append(n.text.text, toolsAfter...)
	return n.text.text[start:len(n.text.text):len(n.text.text)]
}

const (
	toolsBefore = "You may call these tools. To call one, answer with a JSON object with its name and arguments inside " +
		"<tool_call></tool_call> tags.\n<tools>\n"
	toolsAfter = "\n</tools>"

	callBefore = "<tool_call>\n"
	callAfter  = "\n</tool_call>"
)

// preference is a prompt with a better and a worse answer to it.
func (n *normaliser) preference() {
	n.out.messages = appendSystem(n.out.messages, n.join(n.want(RoleSystem), n.tools()))
	system := len(n.out.messages) > 0
	if v := n.get(RolePrompt); !v.absent() {
		n.side(RolePrompt, roleUser, &n.out.messages)
		n.mergeSystem(system)
	}
	if input := n.want(RoleInput); !blank(input) && len(n.out.messages) > 0 {
		last := &n.out.messages[len(n.out.messages)-1]
		last.content = n.join(last.content, input)
	}
	n.side(RoleChosen, roleAssistant, &n.out.chosen)
	n.side(RoleRejected, roleAssistant, &n.out.rejected)
	if n.failed {
		return
	}
	n.splitPrompt()
	n.checkPair()
}

// splitPrompt takes the prompt out of answers that repeat it; without a prompt column, it is what both begin with.
func (n *normaliser) splitPrompt() {
	x := &n.out
	shared := 0
	for shared < min(len(x.chosen), len(x.rejected))-1 && sameMessages(x.chosen[shared:shared+1], x.rejected[shared:shared+1]) {
		shared++
	}
	prompt := x.chosen[:shared]
	switch {
	case len(x.messages) == 0:
		x.messages = append(x.messages, prompt...)
	case len(prompt) < len(x.messages) || !sameMessages(prompt[len(prompt)-len(x.messages):], x.messages):
		return
	default:
		x.messages = append(x.messages[:0], prompt...)
	}
	x.chosen, x.rejected = x.chosen[shared:], x.rejected[shared:]
}

func (n *normaliser) checkPair() {
	x := &n.out
	n.checkAnswer(x.chosen, n.column(RoleChosen))
	n.checkAnswer(x.rejected, n.column(RoleRejected))
	if len(x.messages) == 0 {
		n.warn(IssueEmptyField, n.column(RolePrompt), "there is no prompt")
	}
	if !n.failed && sameMessages(x.chosen, x.rejected) {
		n.err(IssueIdenticalPair, n.column(RoleRejected), "%s and %s are the same", n.column(RoleChosen), n.column(RoleRejected))
	}
}

// checkAnswer: an answer ends in an assistant's turn that says something.
func (n *normaliser) checkAnswer(messages []message, field string) {
	if len(messages) == 0 {
		n.err(IssueEmptyField, field, "%s is empty", field)
		return
	}
	last := messages[len(messages)-1]
	if last.role != roleAssistant {
		n.err(IssueLastTurn, field, "the last turn is the %s's; an answer of the assistant must end the row", last.role)
	} else if blank(last.content) {
		n.err(IssueEmptyField, field, "the assistant's last turn is empty")
	}
}

// side reads a value that is a text (one turn of the given role), a turn, or a list of turns.
func (n *normaliser) side(role Role, as string, into *[]message) {
	v, field := n.get(role), n.column(role)
	switch {
	case v.absent():
		n.err(IssueMissingField, field, "%s is missing", field)
	case isTurns(v):
		n.turns(v, field, into)
	default:
		*into = append(*into, message{as, n.scalar(v, field)})
	}
}

func isTurns(v *Value) bool {
	return !v.absent() && (v.Kind == List || v.Kind == Object || v.Kind == String && looksLikeTurns(v.Text))
}

// looksLikeTurns: a list of objects written as JSON text, as tables hold it.
func looksLikeTurns(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	if len(text) == 0 || text[0] != '[' || !looksLikeArray(text, true) {
		return false
	}
	return bytes.Contains(text, []byte(`"role"`)) || bytes.Contains(text, []byte(`"from"`))
}

// turns reads a list of turns, a single turn, a list as JSON text, or an object that holds the list as "messages".
func (n *normaliser) turns(v *Value, field string, into *[]message) {
	if v.absent() {
		n.err(IssueMissingField, field, "%s is missing", field)
		return
	}
	if v.Kind == String {
		if v = n.cell(v, field); v == nil {
			return
		}
	}
	if inner := v.Get("messages"); inner != nil {
		v = inner
	}
	switch v.Kind {
	case Object:
		n.turn(v, field, -1, into)
	case List:
		for i := range v.Items {
			n.turn(&v.Items[i], field, i, into)
		}
	default:
		n.err(IssueWrongType, field, "%s is %s where a list of turns is needed", field, v.Kind)
	}
}

// cell parses a list of turns that stands in a cell as JSON text.
func (n *normaliser) cell(v *Value, field string) *Value {
	text := bytes.TrimSpace(v.Text)
	if len(text) == 0 {
		n.err(IssueEmptyField, field, "%s is empty", field)
		return nil
	}
	if n.used == len(n.cells) {
		n.cells = append(n.cells, newJSONParser())
	}
	parsed, err := n.cells[n.used].line(text)
	n.used++
	if err == nil && (parsed.Kind == List || parsed.Kind == Object) {
		return &parsed
	}
	hint := ""
	if bytes.Contains(text, []byte("{'")) {
		hint = "; it looks like Python's notation: write it with json.dumps"
	}
	n.err(IssueWrongType, field, "%s is text that is not a JSON list of turns%s", field, hint)
	return nil
}

// turnRoles are the names of speakers in the formats people use.
var turnRoles = map[string]string{
	"system": roleSystem, "developer": roleSystem,
	"user": roleUser, "human": roleUser,
	"assistant": roleAssistant, "gpt": roleAssistant, "model": roleAssistant, "bot": roleAssistant,
	"chatgpt": roleAssistant, "bing": roleAssistant, "bard": roleAssistant,
	"function_call": roleAssistant, "tool_call": roleAssistant,
	"tool": roleTool, "observation": roleTool, "function": roleTool, "function_response": roleTool,
	"tool_response": roleTool, "ipython": roleTool,
}

func (n *normaliser) turn(v *Value, field string, i int, into *[]message) {
	if v.Kind != Object {
		n.err(IssueWrongType, turnField(field, i), "a turn is %s, not an object with a role and a content", v.Kind)
		return
	}
	speaker, content := either(v, "role", "from"), either(v, "content", "value")
	if speaker == nil && v.Get("human") != nil && v.Get("assistant") != nil {
		*into = append(*into, message{roleUser, n.scalar(v.Get("human"), turnField(field, i)+".human")},
			message{roleAssistant, n.scalar(v.Get("assistant"), turnField(field, i)+".assistant")})
		return
	}
	if speaker.absent() || speaker.Kind != String {
		n.err(IssueMissingField, turnField(field, i)+".role", "a turn has no role")
		return
	}
	role, ok := turnRoles[string(speaker.Text)]
	if !ok {
		role, ok = turnRoles[strings.ToLower(string(speaker.Text))]
	}
	if !ok {
		n.err(IssueUnknownRole, turnField(field, i)+".role", "the role %q is unknown; known are system, user (human), assistant (gpt), "+
			"tool (observation) and function_call", cutUTF8(speaker.Text, 40))
		return
	}
	n.noteWeight(v, field, i)
	text := n.content(v, content, field, i)
	if name := string(speaker.Text); name == "function_call" || name == "tool_call" {
		text = n.call(text, field, i)
	}
	*into = append(*into, message{role, text})
}

func either(v *Value, a, b string) *Value {
	if found := v.Get(a); found != nil {
		return found
	}
	return v.Get(b)
}

func turnField(field string, i int) string {
	if i < 0 {
		return field
	}
	return fmt.Sprintf("%s[%d]", field, i)
}

func (n *normaliser) noteWeight(v *Value, field string, i int) {
	if w := v.Get("weight"); w != nil && w.Kind == Number && string(w.Text) == "0" {
		n.warn(IssueWeight, turnField(field, i)+".weight", "the weight 0 is ignored: every assistant turn is learnt")
	}
}

// content is what a turn says: text, text parts, and tool calls written out.
func (n *normaliser) content(turn, v *Value, field string, i int) []byte {
	calls := turn.Get("tool_calls")
	if call := turn.Get("function_call"); !call.absent() {
		calls = &Value{Kind: List, Items: []Value{{Kind: Object, Items: []Value{named("function", *call)}}}}
	}
	hasCalls := !calls.absent() && calls.Kind == List && len(calls.Items) > 0
	var text []byte
	switch {
	case v.absent() && !hasCalls:
		n.err(IssueMissingField, turnField(field, i)+".content", "a turn has no content")
		return nil
	case v.absent():
	case v.Kind == List:
		text = n.parts(v, field, i)
	case v.Kind == String:
		text = v.Text
	default:
		text = n.scalar(v, turnField(field, i)+".content")
	}
	if !hasCalls {
		return text
	}
	return n.calls(text, calls, field, i)
}

func named(name string, v Value) Value { v.Name = name; return v }

// parts joins the text parts of a content list; other parts (images, audio) cannot be learnt by a text model.
func (n *normaliser) parts(v *Value, field string, i int) []byte {
	start := len(n.text.text)
	for k := range v.Items {
		part := &v.Items[k]
		text := part.Get("text")
		if part.Kind == String {
			text = part
		}
		if text == nil || text.Kind != String {
			n.err(IssueContent, turnField(field, i)+".content", "the content has a part that is not text")
			return nil
		}
		n.text.text = append(n.text.text, text.Text...)
	}
	return n.text.text[start:len(n.text.text):len(n.text.text)]
}

// calls writes OpenAI's tool calls behind the text.
func (n *normaliser) calls(text []byte, calls *Value, field string, i int) []byte {
	start := len(n.text.text)
	n.text.text = append(n.text.text, text...)
	for k := range calls.Items {
		function := calls.Items[k].Get("function")
		if function == nil {
			function = &calls.Items[k]
		}
		name, arguments := function.Get("name"), function.Get("arguments")
		if name.absent() || name.Kind != String {
			n.err(IssueMissingField, turnField(field, i)+".tool_calls", "a tool call has no name")
			return nil
		}
		if len(n.text.text) > start {
			n.text.text = append(n.text.text, '\n')
		}
		n.text.text = append(n.text.text, callBefore+`{"name": `...)
		n.text.text = appendQuoted(n.text.text, name.Text, 0)
		n.text.text = append(n.text.text, `, "arguments": `...)
		n.appendArguments(arguments, field, i)
		n.text.text = append(n.text.text, "}"+callAfter...)
	}
	return n.text.text[start:len(n.text.text):len(n.text.text)]
}

// appendArguments: OpenAI writes the arguments as JSON inside a string; they are learnt as JSON.
func (n *normaliser) appendArguments(v *Value, field string, i int) {
	switch {
	case v.absent():
		n.text.text = append(n.text.text, "{}"...)
	case v.Kind == String && jsontext.Value(v.Text).IsValid():
		n.text.text = append(n.text.text, v.Text...)
	default:
		if v.Kind == String {
			n.warn(IssueToolCall, turnField(field, i)+".tool_calls", "the arguments of a tool call are not JSON; they are used as text")
		}
		n.text.text = v.appendJSON(n.text.text, 0)
	}
}

// call writes sharegpt's function_call turn as the assistant's.
func (n *normaliser) call(text []byte, field string, i int) []byte {
	if !jsontext.Value(text).IsValid() && !n.failed {
		n.warn(IssueToolCall, turnField(field, i)+".value", "the function call is not JSON; it is used as it stands")
	}
	start := len(n.text.text)
	n.text.text = append(n.text.text, callBefore...)
	n.text.text = append(n.text.text, text...)
	n.text.text = append(n.text.text, callAfter...)
	return n.text.text[start:len(n.text.text):len(n.text.text)]
}
