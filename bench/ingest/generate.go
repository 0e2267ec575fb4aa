//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"math/rand/v2"
	"strings"
)

// words of a made-up manual; a few are beyond ASCII, as real text is.
var words = strings.Fields(`the a valve pump turn left right open close before after until water pressure falls rises to and of in for
	with gauge reads bar degrees when light blinks hold button seconds release then check seal replace filter every month naïve café
	Überdruck größe señal 水 圧力 manual section step warning never touch hot surface unplug device first wait cool down`)

// generate writes instruction rows of at least size bytes in all, the same ones every time: answers of 5 to 300 words, a
// third with an input, one in twenty a repetition.
func generate(w io.Writer, size int) error {
	random := rand.New(rand.NewPCG(7, 11))
	out := bufio.NewWriterSize(w, 1<<20)
	var earlier []byte
	for written := 0; written < size; {
		line := earlier
		if earlier == nil || random.IntN(20) > 0 {
			line = row(random)
		}
		if random.IntN(100) == 0 {
			earlier = line
		}
		n, err := out.Write(line)
		if err != nil {
			return err
		}
		written += n
	}
	return out.Flush()
}

func row(random *rand.Rand) []byte {
	input := ""
	if random.IntN(3) == 0 {
		input = prose(random, 3+random.IntN(40))
	}
	line, _ := json.Marshal(map[string]string{
		"instruction": prose(random, 5+random.IntN(25)), "input": input, "output": prose(random, 5+random.IntN(295)),
	})
	return append(line, '\n')
}

func prose(random *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		switch {
		case i > 0 && random.IntN(30) == 0:
			b.WriteString(".\n\n")
		case i > 0:
			b.WriteByte(' ')
		}
		b.WriteString(words[random.IntN(len(words))])
	}
	return b.String()
}
