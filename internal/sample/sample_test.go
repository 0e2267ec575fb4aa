package sample

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type row struct {
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
	Split string `json:"split"`
}

func (r row) question() string { return r.Messages[0].Content }
func (r row) answer() string   { return r.Messages[1].Content }

// rows decodes the set strictly: an unknown field or another order of roles fails the test.
func rows(t *testing.T) []row {
	t.Helper()
	var all []row
	for n, line := range bytes.Split(bytes.TrimSuffix(Support(), []byte("\n")), []byte("\n")) {
		decoder := json.NewDecoder(bytes.NewReader(line))
		decoder.DisallowUnknownFields()
		var r row
		require.NoError(t, decoder.Decode(&r), "line %d", n+1)
		require.False(t, decoder.More(), "line %d holds more than one value", n+1)
		require.Len(t, r.Messages, 2, "line %d", n+1)
		require.Equal(t, "user", r.Messages[0].Role, "line %d", n+1)
		require.Equal(t, "assistant", r.Messages[1].Role, "line %d", n+1)
		all = append(all, r)
	}
	return all
}

func ofSplit(all []row, split string) []row {
	var kept []row
	for _, r := range all {
		if r.Split == split {
			kept = append(kept, r)
		}
	}
	return kept
}

func TestSizes(t *testing.T) {
	all := rows(t)
	require.Len(t, all, Rows)
	require.Len(t, ofSplit(all, "test"), HeldOut)
	require.Len(t, ofSplit(all, "train"), Rows-HeldOut)
	for _, r := range all {
		// The bundled tokenizer makes at most 107 tokens of a row in its chat template, where 292 characters are the most.
		require.LessOrEqual(t, utf8.RuneCountInString(r.question()+r.answer()), 300, r.question())
		require.True(t, utf8.ValidString(r.question()+r.answer()), r.question())
	}
}

func TestSupportIsTheCallersOwn(t *testing.T) {
	Support()[0] = 'x'
	require.Equal(t, byte('{'), Support()[0])
}

func TestNothingRepeats(t *testing.T) {
	questions, answers := map[string]bool{}, map[string]bool{}
	for _, r := range rows(t) {
		question, answer := strings.Join(words(r.question()), " "), strings.Join(words(r.answer()), " ")
		require.False(t, questions[question], "asked twice: %s", r.question())
		require.False(t, answers[answer], "answered twice: %s", r.answer())
		questions[question], answers[answer] = true, true
	}
	require.False(t, questions[strings.Join(words(DemoQuestion), " ")], "the demo's question must not be in the set")
}

// A held-out question that shares four words of five with a trained one would measure memory; the demo's question is held to the same.
func TestHeldOutQuestionsAreNew(t *testing.T) {
	all := rows(t)
	held := []string{DemoQuestion}
	for _, r := range ofSplit(all, "test") {
		held = append(held, r.question())
	}
	for _, question := range held {
		for _, trained := range ofSplit(all, "train") {
			require.Less(t, overlap(question, trained.question()), 0.8, "%q is too close to %q", question, trained.question())
		}
	}
}

var word = regexp.MustCompile(`[\p{L}\p{N}]+`)

func words(text string) []string { return word.FindAllString(strings.ToLower(text), -1) }

// overlap is the share of distinct words that two texts have in common (Jaccard's index).
func overlap(a, b string) float64 {
	inA, union, common := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, w := range words(a) {
		inA[w], union[w] = true, true
	}
	for _, w := range words(b) {
		union[w] = true
		if inA[w] {
			common[w] = true
		}
	}
	return float64(len(common)) / float64(len(union))
}

func TestVoice(t *testing.T) {
	const nextStep, signature = " Next step: ", " — Team Pipwick"
	for _, r := range rows(t) {
		body, signed := strings.CutSuffix(r.answer(), signature)
		require.True(t, signed, r.answer())
		reply, step, found := strings.Cut(body, nextStep)
		require.True(t, found, r.answer())
		require.NotContains(t, step, nextStep, "one next step only")
		require.Contains(t, reply, "Pipwick", "the answer itself names the product")
		require.Regexp(t, `[.!?]$`, reply)
		require.Regexp(t, `^\p{Ll}.*\.$`, step, "the next step is one sentence after the colon")
		require.Equal(t, strings.Join(strings.Fields(r.answer()), " "), r.answer(), "single spaces")
	}
}

// topics tells by its key words, in question or answer, what a row is about. A row may touch several.
var topics = map[string]*regexp.Regexp{
	"returns":          regexp.MustCompile(`45 days`),
	"refunds":          regexp.MustCompile(`6 business days`),
	"warranty":         regexp.MustCompile(`(?i)warranty|for 3 years`),
	"sprouting":        regexp.MustCompile(`21 days`),
	"delivery time":    regexp.MustCompile(`4 business days|standard Pipwick delivery`),
	"shipping cost":    regexp.MustCompile(`\$60|ships? free`),
	"express":          regexp.MustCompile(`Express`),
	"countries":        regexp.MustCompile(`United States`),
	"tracking":         regexp.MustCompile(`\bTrack\b|(?i)tracking|parcel`),
	"changing orders":  regexp.MustCompile(`within 3 hours|3 hours after`),
	"price":            regexp.MustCompile(`\$149`),
	"Mini":             regexp.MustCompile(`\bMini\b`),
	"Pod Club":         regexp.MustCompile(`\$14\b`),
	"pausing":          regexp.MustCompile(`4 months|Pause`),
	"leaving the club": regexp.MustCompile(`20th`),
	"payment":          regexp.MustCompile(`debit card|credit card`),
	"gift cards":       regexp.MustCompile(`never expire|\$200`),
	"schools":          regexp.MustCompile(`15 percent`),
	"set-up":           regexp.MustCompile(`10 minutes|drop in the pods|drop the pods`),
	"Wi-Fi":            regexp.MustCompile(`2\.4 GHz|without Wi-Fi`),
	"pairing":          regexp.MustCompile(`blinks blue|blinking blue`),
	"reset":            regexp.MustCompile(`turns white|A reset|a reset`),
	"E1":               regexp.MustCompile(`E1`),
	"E2":               regexp.MustCompile(`E2`),
	"E3":               regexp.MustCompile(`E3`),
	"E4":               regexp.MustCompile(`E4`),
	"water":            regexp.MustCompile(`4[ -]liter|tap water`),
	"plant food":       regexp.MustCompile(`14 days`),
	"light":            regexp.MustCompile(`16 hours`),
	"power":            regexp.MustCompile(`22 watts`),
	"noise":            regexp.MustCompile(`28 decibels`),
	"size":             regexp.MustCompile(`inches`),
	"cleaning":         regexp.MustCompile(`vinegar`),
	"what grows":       regexp.MustCompile(`root vegetables|cherry tomatoes|grows all year|favorites under Pods`),
	"harvest":          regexp.MustCompile(`(?:4|5|10|2) weeks (?:after|in|more)|About 5 weeks`),
	"own seeds":        regexp.MustCompile(`Blank Pods?`),
	"white fuzz":       regexp.MustCompile(`white fuzz|White fuzz|harmless mold|The fuzz|fuzzy`),
	"yellow leaves":    regexp.MustCompile(`(?i)yellow`),
	"contact":          regexp.MustCompile(`8 am|@pipwick\.example`),
	"holiday":          regexp.MustCompile(`Holiday Mode`),
	"privacy":          regexp.MustCompile(`no camera|no microphone|readings`),
	"damage":           regexp.MustCompile(`within 7 days|7 days from`),
}

func TestTopicsAreSpreadOverBothSplits(t *testing.T) {
	all := rows(t)
	trained, held := ofSplit(all, "train"), ofSplit(all, "test")
	for name, about := range topics {
		require.GreaterOrEqual(t, count(trained, about), 6, "rows to learn %q from", name)
		require.GreaterOrEqual(t, count(held, about), 2, "held-out rows about %q", name)
	}
	for _, r := range all {
		assert.True(t, aboutAnything(r), "on no topic: %s %s", r.question(), r.answer())
	}
	require.GreaterOrEqual(t, count(trained, topics["E2"]), 10, "the demo asks about E2")
}

func count(among []row, about *regexp.Regexp) int {
	n := 0
	for _, r := range among {
		if about.MatchString(r.question() + " " + r.answer()) {
			n++
		}
	}
	return n
}

func aboutAnything(r row) bool {
	for _, about := range topics {
		if count([]row{r}, about) > 0 {
			return true
		}
	}
	return false
}

// claims are the rules that a reader could catch the set contradicting itself on: in every sentence of an answer that
// `about` selects, whatever `quantity` finds (its group) is `want`.
var claims = []struct {
	fact, about, quantity, want string
	least                       int // sentences that state it
}{
	{"return window", `(?i)refund|to return|\breturn(?:ed|s)?\b.*within`, `(\d+) days\b`, "45", 12},
	{"refund paid", `(?i)refund|return reaches us`, `(\d+) business days`, "6", 8},
	{"warranty", `(?i)warranty`, `(\d+)[- ]years?\b`, "3", 10},
	{"sprout guarantee", `(?i)sprout|replace any Pipwick`, `(\d+) days\b`, "21", 9},
	{"standard delivery", `(?i)standard (?:Pipwick )?delivery`, `(\d+) business days`, "4", 7},
	{"postage", `(?i)shipping|postage`, `(?:shipping|Postage|it)(?: costs| is)? \$(\d+)`, "7", 6},
	{"free postage from", `(?i)free|or more|below`, `(?:orders of|from|starts at|below) \$(\d+)`, "60", 8},
	{"express price", `Express`, `\$(\d+)`, "18", 7},
	{"express time", `Express`, `(\d+) business days`, "2", 6},
	{"changing an order", `order|placing|checkout`, `(\d+) hours`, "3", 10},
	{"Garden's price", `Garden`, `(?:Garden costs|Garden for|garden,? for) \$(\d+)`, "149", 5},
	{"Mini's price", `Mini`, `Mini costs \$(\d+)`, "89", 3},
	{"Garden's pods", `Garden`, `Garden holds (\d+)(?:$| pods| at)`, "9", 4},
	{"Mini's pods", `Mini`, `Mini holds (\d+)`, "4", 4},
	{"club's price", `Pod Club`, `\$(\d+)`, "14", 8},
	{"club's pods", `Club`, `(\d+) (?:Pipwick )?pods`, "5", 6},
	{"pause", `(?i)pause`, `(\d+) months`, "4", 7},
	{"club's day", `.`, `(\d+)(?:st|nd|rd|th)\b`, "20", 9},
	{"largest gift card", `(?i)gift card`, `(?:to|card is) \$(\d+)`, "200", 6},
	{"smallest gift card", `(?i)gift card`, `(?:from|at|smallest is) \$(\d+)`, "25", 6},
	{"schools", `.`, `(\d+) percent`, "15", 9},
	{"set-up time", `(?i)takes about|ready in about`, `(\d+) minutes`, "10", 6},
	{"Wi-Fi band", `uses|needs|is just right|Choose`, `(\d\.\d) GHz`, "2.4", 6},
	{"pairing", `blinks blue|pairs`, `(\d+) seconds pairs|for (\d+) seconds|(\d+) seconds, until`, "5", 9},
	{"reset", `turns white|resets`, `(\d+) seconds resets|for (\d+) seconds|(\d+) seconds, until`, "12", 7},
	{"E3's wait", `(?i)cool|E3|unplug`, `(\d+) minutes`, "30", 7},
	{"plant food", `(?i)capful|feed`, `(\d+) days`, "14", 10},
	{"tank", `.`, `(\d+)[- ]liters?`, "4", 8},
	{"tank lasts", `(?i)tank|last|fill`, `about (\d+) weeks`, "2", 4},
	{"hours of light", `.`, `(\d+) hours of light|(\d+) hours on and`, "16", 6},
	{"hours of dark", `.`, `(\d+)(?: hours)? of dark|(\d+) hours off`, "8", 4},
	{"power", `.`, `(\d+) watts`, "22", 9},
	{"running cost", `.`, `\$(\d+) a month\b`, "2|14", 10},
	{"noise", `.`, `(\d+) decibels`, "28", 9},
	{"width", `.`, `(\d+) inches wide`, "16", 5},
	{"depth", `.`, `(\d+) inches deep`, "8", 5},
	{"height", `.`, `(\d+) inches high`, "15", 3},
	{"lamp arm", `(?i)rises`, `to (\d+) inches`, "24", 3},
	{"cleaning", `.`, `(?i)(?:^|[^t] |[^u]t )every (\d+) weeks`, "6", 7},
	{"basil", `(?i)^[^.]*basil`, `(\d+) weeks`, "4", 4},
	{"tomatoes", `(?i)tomatoes (?:are|need)`, `(\d+) weeks`, "10", 2},
	{"lettuce", `.`, `(?i)lettuce (?:needs|takes) about (\d+) weeks`, "5", 2},
	{"Blank Pods", `Blank Pod|pack of 6`, `\$(\d+)`, "11", 9},
	{"Holiday Mode", `Holiday Mode|It carries|It lasts|Holiday`, `(\d+) days`, "18", 9},
	{"shipping damage", `(?i)photo|tell us|damage`, `(\d+) days`, "7", 9},
	{"chat opens", `.`, `(\d+) am\b`, "8|3", 6},
	{"chat closes", `.`, `(\d+) pm\b`, "6", 6},
}

func TestNoFactContradictsItself(t *testing.T) {
	all := sentences(rows(t))
	for _, claim := range claims {
		about, quantity, want := regexp.MustCompile(claim.about), regexp.MustCompile(claim.quantity), strings.Split(claim.want, "|")
		stated := 0
		for _, sentence := range all {
			if !about.MatchString(sentence) {
				continue
			}
			for _, match := range quantity.FindAllStringSubmatch(sentence, -1) {
				assert.Contains(t, want, strings.Join(match[1:], ""), "%s: %s", claim.fact, sentence)
				stated++
			}
		}
		assert.GreaterOrEqual(t, stated, claim.least, "sentences that state: %s", claim.fact)
	}
}

var sentenceEnd = regexp.MustCompile(`[.!?] `)

func sentences(all []row) []string {
	var found []string
	for _, r := range all {
		found = append(found, sentenceEnd.Split(r.answer(), -1)...)
	}
	return found
}

var quantities = regexp.MustCompile(`\$\d+|\d+-year warranty|\d+(?:\.\d+)? (?:business days|days|weeks|months|years|hours|minutes|seconds|percent|watts|decibels|inches|liters|pods|am|pm|GHz)\b|\d+th\b`)

// Every quantity in an answer is a quantity of the fact sheet, word for word.
func TestQuantitiesAreInTheFactSheet(t *testing.T) {
	sheet, err := os.ReadFile("FACTS.md")
	require.NoError(t, err)
	known := map[string]bool{}
	for _, quantity := range quantities.FindAllString(strings.Join(strings.Fields(string(sheet)), " "), -1) {
		known[quantity] = true
	}
	for _, r := range rows(t) {
		for _, quantity := range quantities.FindAllString(r.answer(), -1) {
			require.True(t, known[quantity], "%q is not in FACTS.md: %s", quantity, r.answer())
		}
	}
}
