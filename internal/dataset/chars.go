package dataset

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// Constants of the loops below, which look at eight bytes at a time: every text of every row passes through them.
const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// charCount counts the characters (code points) of valid UTF-8: the bytes that do not continue another.
func charCount(b []byte) int {
	n := len(b)
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		if w&highBits != 0 {
			n -= bits.OnesCount64(w & highBits &^ (w << 1))
		}
		b = b[8:]
	}
	for _, c := range b {
		if c&0xC0 == 0x80 {
			n--
		}
	}
	return n
}

// foldSpace appends text with every run of white space as one space and none at the ends. Most words of a text need no
// change and are copied eight bytes at a time.
func foldSpace(dst, text []byte) []byte {
	text = bytes.TrimSpace(text)
	start := len(dst)
	dst = slices.Grow(dst, len(text))[:start+len(text)]
	out, n, afterSpace := dst[start:], 0, false
	for len(text) > 0 {
		step := min(8, len(text))
		if step == 8 {
			w := binary.LittleEndian.Uint64(text)
			spaces := atMost(w, ' ')
			if atMost(w, ' '-1) == 0 && spaces&(spaces<<8) == 0 && !(afterSpace && spaces&0x80 != 0) {
				binary.LittleEndian.PutUint64(out[n:], w)
				n += 8
				afterSpace = spaces>>63 != 0
				text = text[8:]
				continue
			}
		}
		for _, c := range text[:step] {
			if !isSpace[c] {
				out[n] = c
				n++
			} else if !afterSpace {
				out[n] = ' '
				n++
			}
			afterSpace = isSpace[c]
		}
		text = text[step:]
	}
	return dst[:start+n]
}

// atMost sets the high bit of every byte of w that is at most limit, which is below 0x80.
func atMost(w uint64, limit byte) uint64 {
	return ^((w&^highBits + uint64(0x7f-limit)*eachByte) | w) & highBits
}

var isSpace = [256]bool{' ': true, '\t': true, '\n': true, '\r': true, '\v': true, '\f': true}

// cutUTF8 returns at most limit bytes of b and never splits a character.
func cutUTF8(b []byte, limit int) []byte {
	if len(b) <= limit {
		return b
	}
	for limit > 0 && !utf8.RuneStart(b[limit]) {
		limit--
	}
	return b[:limit]
}
