package dataset

import (
	"bytes"

	"github.com/zeebo/xxh3"
)

// Roles of canonical messages.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// message is one turn of a canonical conversation.
type message struct {
	role    string
	content []byte
}

// example is a row in canonical form. It borrows from the row and from the normaliser, until the next row.
type example struct {
	canonical  Canonical
	messages   []message // chat; for preference the prompt
	chosen     []message
	rejected   []message
	prompt     []byte
	completion []byte
	text       []byte
}

// appendJSON encodes the example as one canonical line, without the newline; maxText as in Value.appendJSON.
func (x *example) appendJSON(dst []byte, maxText int) []byte {
	switch x.canonical {
	case CanonicalChat:
		dst = append(dst, `{"messages":`...)
		dst = appendMessages(dst, x.messages, maxText)
	case CanonicalPromptCompletion:
		dst = append(dst, `{"prompt":`...)
		dst = appendQuoted(dst, x.prompt, maxText)
		dst = append(dst, `,"completion":`...)
		dst = appendQuoted(dst, x.completion, maxText)
	case CanonicalText:
		dst = append(dst, `{"text":`...)
		dst = appendQuoted(dst, x.text, maxText)
	case CanonicalPreference:
		dst = append(dst, `{"prompt":`...)
		dst = appendMessages(dst, x.messages, maxText)
		dst = append(dst, `,"chosen":`...)
		dst = appendMessages(dst, x.chosen, maxText)
		dst = append(dst, `,"rejected":`...)
		dst = appendMessages(dst, x.rejected, maxText)
	}
	return append(dst, '}')
}

func appendMessages(dst []byte, messages []message, maxText int) []byte {
	dst = append(dst, '[')
	for i, m := range messages {
		dst = appendComma(dst, i)
		dst = append(dst, `{"role":"`...)
		dst = append(dst, m.role...)
		dst = append(dst, `","content":`...)
		dst = appendQuoted(dst, m.content, maxText)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// chars are the characters of what is asked and of what is learnt: in a chat the assistant's turns are learnt, in a
// preference the chosen answer, in a text all of it.
func (x *example) chars() (prompt, completion int) {
	for _, m := range x.messages {
		if m.role == roleAssistant && x.canonical == CanonicalChat {
			completion += charCount(m.content)
		} else {
			prompt += charCount(m.content)
		}
	}
	for _, m := range x.chosen {
		completion += charCount(m.content)
	}
	prompt += charCount(x.prompt)
	completion += charCount(x.completion) + charCount(x.text)
	return prompt, completion
}

// fingerprinter hashes what an example says. Two examples with the same fingerprint are duplicates: they differ at most
// in white space.
type fingerprinter struct{ buf []byte }

func (f *fingerprinter) sum(x *example) uint64 {
	f.buf = f.buf[:0]
	for _, part := range [][]message{x.messages, x.chosen, x.rejected} {
		for _, m := range part {
			f.buf = append(f.buf, m.role[0])
			f.add(m.content)
		}
		f.buf = append(f.buf, 1)
	}
	f.add(x.prompt)
	f.add(x.completion)
	f.add(x.text)
	return xxh3.Hash(f.buf)
}

// add appends a text, white space folded, and a NUL, which no text contains.
func (f *fingerprinter) add(text []byte) { f.buf = append(foldSpace(f.buf, text), 0) }

// sameMessages compares conversations.
func sameMessages(a, b []message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].role != b[i].role || !bytes.Equal(a[i].content, b[i].content) {
			return false
		}
	}
	return true
}
