package dataset

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// charCount counts the characters (code points) of valid UTF-8: the bytes that do not continue another. Eight at a time,
// because every text of every row is counted twice.
func charCount(b []byte) int {
	n := len(b)
	for len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		n -= bits.OnesCount64(w & 0x8080808080808080 &^ (w << 1))
		b = b[8:]
	}
	for _, c := range b {
		if c&0xC0 == 0x80 {
			n--
		}
	}
	return n
}

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
