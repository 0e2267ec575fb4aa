package dataset

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// western tells whether bytes that are no UTF-8 are Western European text in Windows-1252. Any byte of nearly any encoding
// could be Windows-1252, so it looks at how the bytes beyond ASCII stand, and doubts
//
//   - what is no text in it: bytes that it does not define, control characters, and files a part of which is UTF-8;
//   - long runs of them: Cyrillic, Greek, Hebrew, Chinese, Japanese or Korean text in encodings of its own;
//   - symbols and capitals inside words, as "by³a" and "cafŽ": other code pages (Central European, DOS, Macintosh);
//   - letters that only a few Western languages have, where the text's other letters are not theirs, as "ðþý" without "æö":
//     Turkish, Central European and Baltic text.
//
// Feed it the whole file by Write, then ask end. Its memory does not depend on the file.
type western struct {
	doubt string // why this is no Windows-1252; empty so far

	line    int64
	before  byte   // what stands before run; 0 if that is part of an escape
	escaped bool   // the byte before was a backslash
	run     []byte // bytes beyond ASCII that follow each other

	total    int64      // of them
	letters  [256]int64 // by small letter
	odd      tally      // symbols and capitals inside words
	paired   tally      // letters in runs of two and more
	crowded  tally      // in runs of three and more
	doubtful tally      // letters of few languages
}

// tally counts occurrences and remembers the first one's line.
type tally struct{ n, line int64 }

func (t *tally) add(n int, line int64) {
	if t.n == 0 {
		t.line = line
	}
	t.n += int64(n)
}

// Limits, in characters and in shares of them. Text of a language that Windows-1252 is for stays far below, text in another
// encoding is far above (see TestWesternLanguages, TestOtherEncodings).
const (
	maxWesternRun    = 4    // different ones in a row; "óþýð" in Icelandic
	maxOddShare      = 0.05 // of all beyond ASCII
	maxPairedShare   = 0.50 // of letters
	maxCrowdedShare  = 0.10 // of letters
	maxDoubtfulShare = 0.05 // of letters, unless an alphabet has them
	minAlphabetShare = 0.95 // of letters, that an alphabet has to cover
	keptRun          = 32
)

// errDoubt ends the reading of a file that is doubted already.
var errDoubt = errors.New("not Windows-1252")

func newWestern() *western { return &western{line: 1, run: make([]byte, 0, keptRun)} }

// Write implements io.Writer; it fails with errDoubt once there is a doubt.
func (w *western) Write(p []byte) (int, error) {
	for _, c := range p {
		if c >= utf8.RuneSelf {
			w.extend(c)
			continue
		}
		if len(w.run) > 0 {
			w.judgeRun(c)
		}
		if w.doubt == "" && c < ' ' && !isSpace[c] && c != dosEnd {
			w.refuse("has a control character (0x%02X)", c)
		}
		if w.doubt != "" {
			return 0, errDoubt
		}
		w.pass(c)
	}
	return len(p), nil
}

// dosEnd is what DOS put at the end of a text.
const dosEnd = 0x1a

func (w *western) pass(c byte) {
	w.before = c
	if w.escaped {
		w.before = 0
	}
	w.escaped = c == '\\' && !w.escaped
	if c == '\n' {
		w.line++
	}
}

// extend adds to the run; of a line drawn with one symbol the beginning suffices.
func (w *western) extend(c byte) {
	if n := len(w.run); n < keptRun {
		w.run = append(w.run, c)
	} else if c != w.run[n-1] {
		w.refuse("has a long run of characters beyond ASCII, as text in Cyrillic, Greek, Chinese or Japanese has")
	}
}

func (w *western) refuse(format string, args ...any) {
	if w.doubt == "" {
		w.doubt = fmt.Sprintf("line %d ", w.line) + fmt.Sprintf(format, args...)
	}
}

func (w *western) judgeRun(after byte) {
	w.judgeLength()
	w.judgeUTF8()
	for i, c := range w.run {
		left, right := w.before, after
		if i > 0 {
			left = w.run[i-1]
		}
		if i+1 < len(w.run) {
			right = w.run[i+1]
		}
		w.judge(c, left, right)
	}
	w.run, w.escaped = w.run[:0], false
}

// judgeUTF8: a character of UTF-8 where other text is not is two encodings in one file. Only what a capital or ß before a
// quote or an ellipsis also looks like (as in „Spaß“) is let through: Syriac, Thaana and N'Ko.
func (w *western) judgeUTF8() {
	for i, c := range w.run {
		if _, size := utf8.DecodeRune(w.run[i:]); size > 1 && (c < 0xdc || c > 0xdf) {
			w.refuse("looks like UTF-8, and others do not")
		}
	}
}

func (w *western) judge(c, left, right byte) {
	w.total++
	k := westernKinds[c]
	switch {
	case k == undefined:
		w.refuse("has the byte 0x%02X, which Windows-1252 does not know", c)
	case k&letter != 0:
		w.letters[smallLetter(c)]++
		if k&capital != 0 && westernKinds[left]&(letter|capital) == letter {
			w.odd.add(1, w.line)
		}
		if isDoubtful(smallLetter(c), right) {
			w.doubtful.add(1, w.line)
		}
	case c == 0xb3 && (left == 'm' || left == 'M'): // m³
	case standsWrong(c, westernKinds[left]&letter != 0, westernKinds[right]&letter != 0):
		w.odd.add(1, w.line)
	}
}

// standsWrong says whether a symbol between left and right is none that a writer would put there.
func standsWrong(c byte, letterLeft, letterRight bool) bool {
	switch c {
	case 0x80, 0xa3, 0xa5, 0xaf: // € £ ¥ ¯, which are Ł, Ą and Ż in Polish files
		return letterLeft || letterRight
	case 0xa1, 0xb1, 0xb3, 0xb9, 0xbf, 0x82, 0x84, 0x95: // ¡ ± ³ ¹ ¿ ‚ „ •, which are ł, ą, ż, é, ä and ò at the end of a word
		return letterLeft
	case 0x85, 0x91, 0x92, 0x96, 0x97, 0xa0, 0xad, 0xb4, 0xb7: // … ‘ ’ – — no-break space, soft hyphen, ´ ·
		return false
	}
	return letterLeft && letterRight
}

// isDoubtful are letters that stand for others in Turkish, Central European, Baltic and Vietnamese code pages. Portuguese
// has õ too, but before an e.
func isDoubtful(c, right byte) bool {
	switch c {
	case 0x9a, 0x9e, 0xf0, 0xfd, 0xfe, 0xff: // š ž ð ý þ ÿ
		return true
	case 0xf5: // õ
		return right != 'e' && right != 'E'
	}
	return false
}

// judgeLength looks at different characters in a row, and at letters among them; Finnish "öö" and Portuguese "çã" count as one.
func (w *western) judgeLength() {
	inRow, letters := 0, 0
	count := func() {
		if letters >= 2 {
			w.paired.add(letters, w.line)
		}
		if letters >= 3 {
			w.crowded.add(letters, w.line)
		}
		letters = 0
	}
	for i, c := range w.run {
		if i > 0 && (c == w.run[i-1] || isTilde(c) && smallLetter(w.run[i-1]) == 0xe7) {
			continue
		}
		inRow++
		if westernKinds[c]&letter != 0 {
			letters++
		} else {
			count()
		}
	}
	count()
	if inRow > maxWesternRun {
		w.refuse("has %d characters beyond ASCII in a row, as text in Cyrillic, Greek, Chinese or Japanese has", inRow)
	}
}

// isTilde: ã or õ, which mostly follow a ç (0xE7).
func isTilde(c byte) bool { return smallLetter(c) == 0xe3 || smallLetter(c) == 0xf5 }

// end judges the file as a whole.
func (w *western) end() string {
	if len(w.run) > 0 {
		w.judgeRun(0)
	}
	letters := int64(0)
	for _, n := range w.letters {
		letters += n
	}
	over := func(t tally, share float64, of int64) bool { return float64(t.n) > share*float64(of) }
	switch {
	case w.doubt != "":
	case over(w.odd, maxOddShare, w.total):
		w.line = w.odd.line
		w.refuse("would have a symbol or a capital inside a word or at its end, and others have too")
	case over(w.crowded, maxCrowdedShare, letters):
		w.line = w.crowded.line
		w.refuse("would have several letters with accents in a row, and others have too")
	case over(w.paired, maxPairedShare, letters):
		w.line = w.paired.line
		w.refuse("would have several letters with accents in a row, and others have too")
	case over(w.doubtful, maxDoubtfulShare, letters) && !w.fitsAlphabet(letters):
		w.line = w.doubtful.line
		w.refuse("would have letters of Icelandic or Estonian among others, as Turkish, Czech or Hungarian text seems to have")
	}
	return w.doubt
}

// alphabets, beyond ASCII, of the Western languages that have the doubtful letters: Icelandic and Faroese, Estonian and Finnish.
var alphabets = [...]string{"áéíóúýþæðöø", "äöüõšžå"}

func (w *western) fitsAlphabet(letters int64) bool {
	for _, alphabet := range alphabets {
		covered := int64(0)
		for _, r := range alphabet {
			c, _ := charmap.Windows1252.EncodeRune(r)
			covered += w.letters[c]
		}
		if float64(covered) >= minAlphabetShare*float64(letters) {
			return true
		}
	}
	return false
}

// kind of a byte in Windows-1252; 0 is a symbol.
type kind byte

const (
	letter kind = 1 << iota
	capital
	undefined
)

var westernKinds = func() (kinds [256]kind) {
	for c := range kinds {
		switch {
		case c == 0x81, c == 0x8d, c == 0x8f, c == 0x90, c == 0x9d:
			kinds[c] = undefined
		case c >= 'A' && c <= 'Z', c >= 0xc0 && c <= 0xde && c != 0xd7, c == 0x8a, c == 0x8c, c == 0x8e, c == 0x9f:
			kinds[c] = letter | capital
		case c >= 'a' && c <= 'z', c >= 0xdf && c != 0xf7, c == 0x9a, c == 0x9c, c == 0x9e:
			kinds[c] = letter
		}
	}
	return kinds
}()

// smallLetter of a byte beyond ASCII; what is no letter stays.
func smallLetter(c byte) byte {
	switch {
	case c == 0x9f: // Ÿ
		return 0xff
	case westernKinds[c]&capital == 0:
		return c
	case c < 0x90: // Š Œ Ž
		return c + 0x10
	}
	return c + 0x20
}
