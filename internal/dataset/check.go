package dataset

import (
	"bytes"
)

// checkChat looks at a conversation as a whole. What cannot be learnt from is an error, what a chat template may render
// badly a warning.
func (n *normaliser) checkChat(messages []message, field string) {
	if n.failed {
		return
	}
	n.checkAnswer(messages, field)
	if n.failed {
		return
	}
	users, repeated, late := 0, -1, -1
	for i, m := range messages {
		if m.role == roleUser {
			users++
		}
		if repeated < 0 && i > 0 && m.role == messages[i-1].role && m.role != roleTool {
			repeated = i
		}
		if late < 0 && i > 0 && m.role == roleSystem {
			late = i
		}
		if i < len(messages)-1 && blank(m.content) {
			n.warn(IssueEmptyField, turnField(field, i), "the %s's turn is empty", m.role)
		}
	}
	if users == 0 {
		n.warn(IssueNoUserTurn, field, "nobody asks: there is no user turn")
	}
	if repeated >= 0 {
		n.warn(IssueSameRole, turnField(field, repeated), "the %s has two turns in a row", messages[repeated].role)
	}
	if late >= 0 {
		n.warn(IssueSystemLate, turnField(field, late), "a system turn stands after the first turn; many chat templates refuse that")
	}
}

// checkTexts looks into every text of the example.
func (n *normaliser) checkTexts() {
	x := &n.out
	special := ""
	look := func(text []byte) {
		if bytes.IndexByte(text, 0) >= 0 && !n.failed {
			n.err(IssueNUL, "", "a text contains a NUL character")
		}
		if special == "" {
			special = specialToken(text)
		}
	}
	for _, part := range [...][]message{x.messages, x.chosen, x.rejected} {
		for _, m := range part {
			look(m.content)
		}
	}
	look(x.prompt)
	look(x.completion)
	look(x.text)
	if special != "" {
		n.warn(IssueSpecialTokens, "", "a text contains %s, which chat templates use as a control token", special)
	}
}

// controlTokens of common chat templates, besides those of the form <|…|>.
var controlTokens = []string{"</s>", "<s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>"}

// specialToken returns the first control token in the text, "" if there is none.
func specialToken(text []byte) string {
	for rest := text; ; {
		i := bytes.IndexByte(rest, '<')
		if i < 0 {
			break
		}
		rest = rest[i:]
		if token := tokenAt(rest); token != "" {
			return token
		}
		rest = rest[1:]
	}
	for _, token := range []string{"[INST]", "[/INST]"} {
		if bytes.Contains(text, []byte(token)) {
			return token
		}
	}
	return ""
}

func tokenAt(text []byte) string {
	if len(text) > 2 && text[1] == '|' {
		end := bytes.Index(text[:min(len(text), 40)], []byte("|>"))
		if end > 2 && !bytes.ContainsAny(text[2:end], " \t\n<>") {
			return string(text[:end+2])
		}
	}
	for _, token := range controlTokens {
		if bytes.HasPrefix(text, []byte(token)) {
			return token
		}
	}
	return ""
}
