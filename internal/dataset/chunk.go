package dataset

import (
	"bytes"
	"unicode/utf8"
)

// DefaultTextChunkChars is the length that documents of plain text are cut to: about 500 tokens of English, which fits
// the sequence length of a small run.
const DefaultTextChunkChars = 2000

// chunks cuts a document into pieces of at most maxChars characters, at the end of a paragraph, line, sentence or word,
// in this order of liking, and never within a character. Pieces lose the white space around them.
func chunks(text []byte, maxChars int, emit func(piece []byte) error) error {
	text = bytes.TrimSpace(text)
	for len(text) > 0 {
		end := cutPoint(text, maxChars)
		if piece := bytes.TrimSpace(text[:end]); len(piece) > 0 {
			if err := emit(piece); err != nil {
				return err
			}
		}
		text = bytes.TrimSpace(text[end:])
	}
	return nil
}

// cutPoint is the offset at which the first piece ends. Only the second half of the piece is searched, so that a piece is
// at least half as long as it may be.
func cutPoint(text []byte, maxChars int) int {
	limit := charOffset(text, maxChars)
	if limit == len(text) {
		return limit
	}
	half := charOffset(text, maxChars/2)
	window := text[half:limit]
	for _, boundary := range []string{"\n\n", "\n"} {
		if i := bytes.LastIndex(window, []byte(boundary)); i >= 0 {
			return half + i + len(boundary)
		}
	}
	if i := lastSentenceEnd(window); i > 0 {
		return half + i
	}
	if i := bytes.LastIndexAny(window, " \t"); i >= 0 {
		return half + i + 1
	}
	return limit
}

// charOffset is the byte offset of the n-th character, or the length of a shorter text.
func charOffset(text []byte, n int) int {
	offset := 0
	for ; n > 0 && offset < len(text); n-- {
		if text[offset] < utf8.RuneSelf {
			offset++
			continue
		}
		_, size := utf8.DecodeRune(text[offset:])
		offset += size
	}
	return offset
}

// lastSentenceEnd is the offset behind the last sentence of the window, 0 if none ends there.
func lastSentenceEnd(window []byte) int {
	for i := len(window) - 2; i > 0; i-- {
		if window[i+1] == ' ' && bytes.IndexByte([]byte(".!?"), window[i]) >= 0 {
			return i + 2
		}
	}
	if i := bytes.LastIndex(window, []byte("。")); i >= 0 {
		return i + len("。")
	}
	return 0
}
