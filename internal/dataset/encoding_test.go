package dataset

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/transform"

	textencoding "golang.org/x/text/encoding"

	"github.com/vibeflow/vibeflow/contract"
)

// TestEncodings: the same text gives the same rows, at the same lines, however it is written.
func TestEncodings(t *testing.T) {
	for name, text := range map[string]string{
		"a.csv":   "prompt;completion\r\n\"Où est\nle café ?\";“Là-bas”, 5 €…\r\nWas heißt „Spaß“?;fun – naïve\r\n",
		"a.tsv":   "prompt\tcompletion\nOù est le café ?\t“Là-bas”, 5 €…\nWas heißt „Spaß“?\tfun – naïve\n",
		"a.txt":   "Où est le café ?\n\n“Là-bas”, 5 €…\r\nWas heißt „Spaß“? Fun – naïve",
		"a.jsonl": "{\"prompt\":\"Où est\\nÀ côté du café ?\",\"completion\":\"“Là-bas”, 5 €…\"}\n\n{\"prompt\":\"Was heißt „Spaß“?\",\"completion\":\"fun – naïve\"}\n",
		"a.json":  "[{\"prompt\":\"Où est\\nÀ côté du café ?\",\"completion\":\"“Là-bas”, 5 €…\"},\n{\"prompt\":\"Was heißt „Spaß“?\",\"completion\":\"fun – naïve\"}]",
	} {
		plain, err := inspect(t, name, text)
		require.NoError(t, err)
		for in, mark := range map[encoding]string{asUTF8: "\ufeff", asUTF16LE: "\ufeff", asUTF16BE: "\ufeff", asWindows1252: ""} {
			t.Run(name+" "+string(in), func(t *testing.T) {
				content := writtenText(in, mark+text)
				profile, err := inspect(t, name, content)
				require.NoError(t, err)
				require.Equal(t, int64(len(content)), profile.Bytes, "of the file, not of its text")
				require.Equal(t, plain.Detection, profile.Detection)
				require.Equal(t, plain.Columns, profile.Columns)
				require.Equal(t, plain.Preview, profile.Preview)
				require.Equal(t, append((&File{encoding: in}).notes(), plain.Notes...), profile.Notes)
				require.Equal(t, processed(t, open(t, name, text)), processed(t, open(t, name, content)))
			})
		}
	}
}

// processed gives the rows to train on and those held out. Nobody need have inspected the file before.
func processed(t *testing.T, file *File) string {
	t.Helper()
	var train, eval bytes.Buffer
	_, err := file.Process(t.Context(), ProcessOptions{Deduplicate: true}, &train, &eval, nil)
	require.NoError(t, err)
	return train.String() + "--\n" + eval.String()
}

func TestEncodingIsTold(t *testing.T) {
	profile, err := inspect(t, "a.csv", "prompt;completion\na;caf\xe9\nb;c\n")
	require.NoError(t, err)
	require.Contains(t, profile.Notes[0], "Read as Windows-1252 (what Excel saves as CSV)")
	profile, err = inspect(t, "a.csv", "Frage;Stra\xdfe\na;caf\xe9\nb;c\n")
	require.Error(t, err)
	require.Equal(t, "Straße", profile.Columns[1].Name)
	require.Contains(t, profile.Notes[0], "Read as Windows-1252", "also before its columns are known")
}

// TestEncodingIsDecidedByTheWholeFile: wherever the first byte beyond ASCII stands, and whoever asks first.
func TestEncodingIsDecidedByTheWholeFile(t *testing.T) {
	rows := "prompt,completion\n" + strings.Repeat("question,answer\n", HeaderBytes/4)
	good, mixed := rows+"last,caf\xe9\n", rows+"last,caf\xe9 caf\u00e9\n"
	profile, err := inspect(t, "a.csv", good)
	require.NoError(t, err)
	require.Contains(t, profile.Notes[0], "Windows-1252")
	require.Contains(t, processed(t, open(t, "a.csv", good)), "café")

	_, err = inspect(t, "a.csv", mixed)
	require.ErrorContains(t, err, "line 16386: the text is not valid UTF-8")
	var train, eval bytes.Buffer
	_, processErr := open(t, "a.csv", mixed).Process(t.Context(), ProcessOptions{}, &train, &eval, nil)
	require.EqualError(t, processErr, err.Error())
	require.Zero(t, train.Len()+eval.Len())

	page, err := open(t, "a.csv", good).Preview(t.Context(), PreviewOptions{Offset: HeaderBytes / 4, Limit: 1})
	require.NoError(t, err)
	require.Contains(t, string(page[0].Raw), "café")
}

// TestExcelUnicodeText: what Excel calls "Unicode text" is a table although it is named .txt.
func TestExcelUnicodeText(t *testing.T) {
	table := "\ufeffFrage\tAntwort\r\n\"Wie\ngeht das?\"\tSo.\r\nWo ist 水?\tDort.\r\n"
	file := open(t, "Mappe1.txt", writtenText(asUTF16LE, table))
	require.Equal(t, CSV, file.Container)
	require.Equal(t, []string{`1:2 {"Frage":"Wie\ngeht das?","Antwort":"So."}`, `2:4 {"Frage":"Wo ist 水?","Antwort":"Dort."}`}, rowsOf(t, file))
	require.Equal(t, Text, open(t, "a.txt", writtenText(asUTF16LE, "\ufeffFirst line.\n\tSecond.\n")).Container)
}

func TestBrokenUTF16(t *testing.T) {
	for name, c := range map[string]struct{ file, content, message string }{
		"half a pair":           {"a.txt", "\xff\xfea\x00\n\x00\x3d\xd8b\x00\n\x00", "line 2: the text is not valid UTF-16 (save the file with the encoding UTF-8"},
		"half a pair, JSON":     {"a.json", writtenText(asUTF16BE, "\ufeff[{\"text\":\"a\"},\n{\"text\":\"") + "\xdc\x00" + writtenText(asUTF16BE, "\"}]"), "line 2, column 10: the text is not valid UTF-16"},
		"cut off in the middle": {"a.txt", "\xff\xfea\x00\n\x00b", "line 2: the text is not valid UTF-16"},
		"cut off after half":    {"a.txt", "\xff\xfea\x00\n\x00\x3d\xd8", "line 2: the text is not valid UTF-16"},
		"NUL":                   {"a.txt", "\xff\xfea\x00\x00\x00", "the file is binary"},
		"web page":              {"a.csv", writtenText(asUTF16LE, "\ufeff<!DOCTYPE html>"), "a web page"},
		"wrong row":             {"a.jsonl", writtenText(asUTF16LE, "\ufeff{\"text\":\"a\"}\n{\"text\":水}\n"), "row 2 (line 2): broken JSON: invalid character '水'"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := inspect(t, c.file, c.content)
			require.ErrorContains(t, err, c.message)
		})
	}
}

// TestReadersOfEncodingsDoNotDependOnChunks: a source that gives one byte at a time yields the same rows.
func TestReadersOfEncodingsDoNotDependOnChunks(t *testing.T) {
	text := "prompt,completion\ncafé,“thé”\na,b\n"
	for in, content := range map[encoding]string{
		asUTF16LE: writtenText(asUTF16LE, "\ufeff"+text+"水,😀\n"), asUTF16BE: writtenText(asUTF16BE, "\ufeff"+text+"水,😀\n"),
		asWindows1252: writtenText(asWindows1252, text),
	} {
		slow := open(t, "a.csv", content)
		slow.source.Open = openOneByte(content)
		require.Equal(t, processed(t, open(t, "a.csv", content)), processed(t, slow), in)
	}
}

func encoded(t *testing.T, in textencoding.Encoding, text string) string {
	t.Helper()
	out, err := io.ReadAll(transform.NewReader(strings.NewReader(text), in.NewEncoder()))
	require.NoError(t, err)
	return string(out)
}

// TestWesternLanguages: what Windows-1252 is for is read.
func TestWesternLanguages(t *testing.T) {
	for language, text := range map[string]string{
		"English":    "“Don’t,” she said — it’s 20 °C… naïve café, £5, 10 µm, 5 m², 2 cm³, ±1, ½ cup, x × y, Zoë’s résumé, Volvo®, Müller, Bjørn, José, François, ©2024",
		"German":     "Größe, Übung, Maß, „Spaß“, ‚MENÜ‘, ÄRGER, die Höhe – 5 € – über äußere Öffnungen; §5, 30 °C",
		"French":     "« À l’été », où l’œuvre créée est à côté : ça, naïf, forêt, CAFÉ, L’ÉCOLE, sœur, 5 €",
		"Spanish":    "¿Qué? ¡Sí, señor! El niño comió piña; pingüino, 1.º y 2.ª, MAÑANA, N.º 5",
		"Portuguese": "Informações: ação, coração, não, são, mãe, põe, avô, você, às, AÇÃO, emoções, três, 2ª",
		"Ação":       "ação\n",
		"Italian":    "È così: perché, più, città, là, può, «sì», però",
		"Dutch":      "Eén coördinator, drieëntwintig, ideeën, ’s avonds, café, reünie, geïnd",
		"Swedish":    "Åsa åker på sjön, Örebro är öde; två öar, fåfänga, ÅRET",
		"Danish":     "Blåbærgrød på Ærø, øl, æble, Århus, søen, håbløs, ØL",
		"Finnish":    "Hyvää yötä, pöydällä näön määrä, pääsyä, šekki, Åbo, hääyöaie, tämäkään",
		"Icelandic":  "Þýðing á íslensku: það er góður dagur, þakka þér fyrir, höfuðborgin, hún er úti að leika sér, hvað heitir þú, gott kvöld, já, nei, mér líður vel, góða nótt, æði, ég á ömmu, við förum í bíó, öðru, sjávarútvegur",
		"Estonian":   "Õunad, täna öösel, jõgi, jäääär, šokolaad, žanr, või, küsimus, põõsas, võõras, üle",
		"Catalan":    "Col·legi, l’àvia, però, què, més, «força», acció, país, raïm, Núria",
	} {
		t.Run(language, func(t *testing.T) {
			profile, err := inspect(t, "a.csv", encoded(t, charmap.Windows1252, "text\n\""+text+"\"\nplain\n"))
			require.NoError(t, err)
			require.Contains(t, string(profile.Preview[0].Raw), strings.Fields(text)[0])
		})
	}
}

// TestOtherEncodings: text in any other encoding is refused, with its line and what to do.
func TestOtherEncodings(t *testing.T) {
	const (
		russian = "Где находится клапан? Он слева."
		polish  = "Gdzie jest zawór? Był po lewej, między rurą a ścianą; proszę go zamknąć, żeby woda nie płynęła."
		czech   = "Kde je ventil? Řekněte mi, prosím, že ho můžete zavřít ještě před večeří."
		german  = "Wo ist das Ventil? Öffnen Sie es, für drei Stunden, über dem Gehäuse: größer, schön, Maß."
		french  = "Où est la vanne ? Fermez-la après l’été, à côté de la fenêtre : c’est déjà réglé. Où ça ?"
	)
	for name, c := range map[string]struct {
		in   textencoding.Encoding
		text string
		why  string
	}{
		"Russian 1251":    {charmap.Windows1251, russian, "in a row"},
		"Russian KOI8-R":  {charmap.KOI8R, russian, "in a row"},
		"Russian DOS":     {charmap.CodePage866, russian, "in a row"},
		"Russian ISO":     {charmap.ISO8859_5, russian, "in a row"},
		"one short word":  {charmap.Windows1251, "Say да to it", "in a row"},
		"Greek":           {charmap.Windows1253, "Πού είναι η βαλβίδα;", "in a row"},
		"Hebrew":          {charmap.Windows1255, "איפה השסתום?", "in a row"},
		"Arabic":          {charmap.Windows1256, "أين الصمام؟", "in a row"},
		"Thai":            {charmap.Windows874, "วาล์วอยู่ที่ไหน", "in a row"},
		"Japanese":        {japanese.ShiftJIS, "バルブはどこですか", "in a row"},
		"Japanese EUC":    {japanese.EUCJP, "バルブはどこですか", "in a row"},
		"Chinese":         {simplifiedchinese.GBK, "阀门在哪里？请把它关上。", "in a row"},
		"Chinese, 2022":   {simplifiedchinese.GB18030, "阀门在哪里？请把它关上。", "in a row"},
		"Chinese, Taiwan": {traditionalchinese.Big5, "閥門在哪裡？請把它關上。", "in a row"},
		"Korean":          {korean.EUCKR, "밸브는 어디에 있습니까?", "in a row"},
		"Polish":          {charmap.Windows1250, polish, "inside a word"},
		"Polish, few":     {charmap.Windows1250, "Gdzie jest zawór? Był po lewej, między rurą a ścianą.", "inside a word"},
		"Polish ISO":      {charmap.ISO8859_2, polish, "inside a word"},
		"Czech":           {charmap.Windows1250, czech, "Icelandic or Estonian"},
		"Croatian":        {charmap.Windows1250, "Gdje je ventil? Možeš li ga zatvoriti još večeras, molim te, đače, ništa više neću.", "Icelandic or Estonian"},
		"Hungarian":       {charmap.Windows1250, "Hol van a szelep? Kérjük, zárja el előtte, mert később erős lesz a nyomás a csőben.", "Icelandic or Estonian"},
		"Turkish":         {charmap.Windows1254, "Vana nerede? Lütfen ağzını kapatın, çünkü ısı çok yükseldi ve basınç düştü.", "Icelandic or Estonian"},
		"Latvian":         {charmap.Windows1257, "Kur ir vārsts? Lūdzu, aizveriet to, jo šodien spiediens ir pārāk liels un ūdens plūst ārā, žēl.", "Icelandic or Estonian"},
		"Romanian":        {charmap.Windows1250, "Unde este supapa? Vă rugăm să o închideţi în aceeaşi zi, căci presiunea creşte.", "inside a word"},
		"German DOS":      {charmap.CodePage850, german, "0x81"},
		"French DOS":      {charmap.CodePage850, french, "inside a word"},
		"Italian DOS":     {charmap.CodePage850, "Dov'è la valvola? Perché è chiusa, però può aprirla.", "inside a word"},
		"German Mac":      {charmap.Macintosh, german, "inside a word"},
		"French Mac":      {charmap.Macintosh, french, "0x9D"},
		"English Mac":     {charmap.Macintosh, "Don’t open it…", "inside a word"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.NewReplacer("’", "'").Replace(c.text)
			if c.in == charmap.Macintosh {
				text = c.text
			}
			for file, content := range map[string]string{"a.csv": "text\nplain\n\"" + text + "\"\nplain\n", "a.txt": "text\nplain\n" + text + "\nplain"} {
				_, err := inspect(t, file, encoded(t, c.in, content))
				require.Equal(t, contract.CodeBadData, contract.CodeOf(err), err)
				require.ErrorContains(t, err, "line 3: the text is not valid UTF-8, and too unlike Windows-1252")
				require.ErrorContains(t, err, "line 3 ")
				require.ErrorContains(t, err, c.why)
				require.ErrorContains(t, err, `(save the file with the encoding UTF-8 (in Excel: the type "CSV UTF-8") and upload it again)`)
			}
		})
	}
}

// TestDoubtfulFiles: refused by one place, however good the rest is.
func TestDoubtfulFiles(t *testing.T) {
	good := "text\n" + strings.Repeat("caf\xe9; na\xefve\n", 50)
	for name, c := range map[string]struct{ line, message string }{
		"UTF-8 among it":        {"naïve\n", "line 2: the text is not valid UTF-8, and too unlike Windows-1252 to be read as that: line 52 looks like UTF-8"},
		"an unknown byte":       {"a\x8db\n", "line 52 has the byte 0x8D, which Windows-1252 does not know"},
		"a Russian word":        {"\xcf\xf0\xe8\xe2\xe5\xf2\n", "line 52 has 6 characters beyond ASCII in a row"},
		"a control character":   {"a\x01b\n", "line 52 has a control character (0x01)"},
		"a long run":            {strings.Repeat("\x95\x96", 40) + "\n", "line 52 has a long run"},
		"a run at the very end": {strings.Repeat("\xe4\xef", 4), "line 52 has 8 characters beyond ASCII in a row"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := inspect(t, "a.csv", good+c.line)
			require.ErrorContains(t, err, c.message)
		})
	}
	_, err := inspect(t, "a.csv", good+strings.Repeat("c\n", HeaderBytes)+"a\x00b\n")
	require.ErrorContains(t, err, "line 65588 has a control character (0x00)")
	_, err = inspect(t, "a.csv", good+strings.Repeat("\x97", 100)+"\n\x1a")
	require.NoError(t, err, "a line of dashes, and the end that DOS writes")
}

// TestErrorLinesOfEncodings: lines are those of the file; what is broken otherwise is said as ever.
func TestErrorLinesOfEncodings(t *testing.T) {
	for _, in := range []encoding{asUTF16LE, asWindows1252} {
		mark := map[encoding]string{asUTF16LE: "\ufeff"}[in]
		_, err := inspect(t, "a.csv", writtenText(in, mark+"text\n\"é\n\"\nb\n\"never closed"))
		require.ErrorContains(t, err, "line 5: a quoted field that starts in this row never ends", in)
		profile, err := inspect(t, "a.jsonl", writtenText(in, mark+strings.Repeat("{\"text\":\"é\"}\n", 9)+"\n{\"text\":\"é\" 1}\n"))
		require.NoError(t, err)
		require.Equal(t, Issue{Row: 10, Line: 11, Code: IssueBrokenJSON, Severity: SeverityError,
			Message: "broken JSON: invalid character '1' after object value (expecting ',' or '}'), at column 13"}, profile.Issues.Cited[0])
	}
}

// TestEncodingOfASourceThatFails: the source's error, not a verdict on the text.
func TestEncodingOfASourceThatFails(t *testing.T) {
	content, opened := "text\ncaf\xe9\nb\n", 0
	cause := context.DeadlineExceeded
	file, err := Open(t.Context(), Source{Name: "a.csv", Open: opener(func() io.Reader {
		if opened++; opened == 3 { // the header, the rows, then all of it
			return io.MultiReader(strings.NewReader(content), iotest.ErrReader(cause))
		}
		return strings.NewReader(content)
	})})
	require.NoError(t, err)
	_, err = file.Inspect(t.Context(), Options{}, nil)
	require.ErrorIs(t, err, cause)
	require.Equal(t, contract.CodeInternal, contract.CodeOf(err))
	_, err = file.Inspect(t.Context(), Options{}, nil)
	require.NoError(t, err)
}
