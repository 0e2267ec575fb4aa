// Package modelfolder takes in a model that somebody uploads: a folder in the Hugging Face layout, as files or as an
// archive. All of it is untrusted. Nothing is written under a name that an upload chose: a file becomes a stored object, or
// nothing. Pickles and code are refused, archives are read once, bounded in entries and in what they unpack to, and the
// weights' headers must agree with the index and with config.json.
//
// Errors are *contract.Error (invalid, too_large, or what storing says) with the remedy; after one, the caller discards
// Objects.
package modelfolder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/safetensors"
)

const (
	maxEntries = 10_000
	maxFiles   = 2_000
	// Text files are read whole. The largest tokenizers have some 35 MB.
	maxText      = 16 << 20
	maxTokenizer = 64 << 20
	maxIndex     = 32 << 20
	// maxHeld bounds what is kept of texts and headers until the upload has ended, of all its folders together.
	maxHeld = 128 << 20
)

// held are the texts that Finish reads.
var held = []string{configFile, indexFile, tokenizerFile, tokenizerConfigFile}

// Put stores one file of at most limit bytes.
type Put func(ctx context.Context, name string, content io.Reader, limit int64) (contract.Object, error)

// Intake gathers a model's files. Limit bounds what they have together, in bytes.
type Intake struct {
	Put   Put
	Limit int64

	entries, kept int
	used, held    int64
	folders       map[string]*folder
	stored        []string
}

// folder is one folder of the upload; the model is in one of them.
type folder struct {
	files   map[string]file
	names   []string // of everything, also of what is left out
	text    map[string][]byte
	weights map[string]safetensors.Header
}

type file struct {
	contract.FileInfo
	object string
}

// Objects are those that were stored, whatever became of the upload.
func (i *Intake) Objects() []string { return i.stored }

// Add takes one file in. Its name may have folders, with slashes; what a model does not need is left out.
func (i *Intake) Add(ctx context.Context, name string, content io.Reader) error {
	if i.entries++; i.entries > maxEntries {
		return refuse("the upload has more than %d files", maxEntries).Mend("upload the model's own files alone")
	}
	if err := checkPath(name); err != nil {
		return err
	}
	name = path.Clean(name)
	dir, base := path.Split(name)
	f := i.folder(dir)
	f.names = append(f.names, base)
	take, err := wanted(name)
	if err != nil || !take {
		return err
	}
	if _, twice := f.files[base]; twice {
		return refuse("there are two files %s", name).Mend("upload one model, each file once")
	}
	if i.kept++; i.kept > maxFiles {
		return refuse("the model has more than %d files", maxFiles).Mend("upload the model's own files alone")
	}
	if path.Ext(base) == ".safetensors" {
		return i.addWeights(ctx, f, base, content)
	}
	return i.addText(ctx, f, base, content)
}

func (i *Intake) folder(dir string) *folder {
	if i.folders == nil {
		i.folders = map[string]*folder{}
	}
	if i.folders[dir] == nil {
		i.folders[dir] = &folder{files: map[string]file{}, text: map[string][]byte{}, weights: map[string]safetensors.Header{}}
	}
	return i.folders[dir]
}

func refuse(format string, args ...any) *contract.Error {
	return contract.Errorf(contract.CodeInvalid, format, args...).On("file")
}

// checkPath refuses names that lead out of the upload. No path is made of them; whoever packs such a thing means harm.
func checkPath(name string) error {
	if name == "" || strings.ContainsAny(name, "\\\x00") || path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") {
		return refuse("the upload has an entry %.200q, which leads out of it", name).Mend("pack the model's folder alone, with relative names")
	}
	return nil
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)
	pickles   = []string{".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz"}
	code      = []string{".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib", ".exe", ".sh", ".bat"}
	needed    = []string{".safetensors", ".json", ".jinja", ".txt", ".model"}
)

// wanted tells files that are kept from those that are left out, and refuses those that nobody should have.
func wanted(name string) (bool, error) {
	base, kind := path.Base(name), strings.ToLower(path.Ext(name))
	switch {
	case slices.Contains(pickles, kind):
		return false, refuse("%.200s is pickled, and pickles can run code when they are loaded", name).
			Mend("leave it out if the model's safetensors are there; else save the model again with save_pretrained, which writes them")
	case slices.Contains(code, kind):
		return false, refuse("%.200s is code, and code that comes with a model is never run", name).
			Mend("leave it out; the model's architecture has to be one that transformers has itself")
	case slices.ContainsFunc(strings.Split(name, "/"), func(part string) bool { return strings.HasPrefix(part, ".") || part == "__MACOSX" }):
		return false, nil
	case !slices.Contains(needed, kind):
		return false, nil
	case !plainName.MatchString(base):
		return false, refuse("the file name %.200q is none that a model has", base).Mend("use letters, digits, dots, dashes and underscores")
	default:
		return true, nil
	}
}

// Needed tells whether a model needs a file by this name; the others need not be sent.
func Needed(name string) bool {
	take, err := wanted(name)
	return take && err == nil
}

// addText reads a small file whole, so that it can be checked.
func (i *Intake) addText(ctx context.Context, f *folder, name string, content io.Reader) error {
	limit := int64(maxText)
	switch {
	case name == tokenizerFile:
		limit = maxTokenizer
	case strings.HasSuffix(name, ".index.json"):
		limit = maxIndex
	}
	text, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err != nil {
		return err
	}
	if int64(len(text)) > limit {
		return contract.Errorf(contract.CodeTooLarge, "%s is larger than %d bytes", name, limit).On("file").Mend("that is not the file of a model; fetch it again")
	}
	if path.Ext(name) == ".json" {
		if err := checkJSON(name, text); err != nil {
			return err
		}
	}
	if slices.Contains(held, name) {
		if err := i.hold(len(text)); err != nil {
			return err
		}
		f.text[name] = text
	}
	return i.store(ctx, f, name, bytes.NewReader(text))
}

// hold counts what stays in memory.
func (i *Intake) hold(bytes int) error {
	if i.held += int64(bytes); i.held > maxHeld {
		return contract.Errorf(contract.CodeTooLarge, "the configurations, tokenizers and headers in the upload have more than %d bytes together", maxHeld).On("file").
			Mend("upload one model's own files alone")
	}
	return nil
}

// checkJSON refuses what is no JSON, and models that work only with code of their own.
func checkJSON(name string, text []byte) error {
	if !json.Valid(text) {
		return refuse("%s is not valid JSON", name).Mend("fetch the file again, whole")
	}
	var own struct {
		AutoMap json.RawMessage `json:"auto_map"`
	}
	if json.Unmarshal(text, &own) == nil && len(own.AutoMap) > 0 && string(own.AutoMap) != "null" && string(own.AutoMap) != "{}" {
		return refuse("%s has an auto_map: the model runs only with Python code that comes with it, which is never run", name).
			Mend("choose a model of an architecture that transformers has itself")
	}
	return nil
}

// addWeights checks the header as it passes, and that the file ends where its last tensor does.
func (i *Intake) addWeights(ctx context.Context, f *folder, name string, content io.Reader) error {
	header, taken, err := safetensors.Read(content)
	if err != nil {
		if contract.CodeOf(err) != contract.CodeInternal {
			return err
		}
		return refuse("%s is not a safetensors file: %w", name, err).Mend("fetch the file again, whole, or save the model with save_pretrained")
	}
	if err := i.hold(len(taken)); err != nil {
		return err
	}
	if err := i.store(ctx, f, name, io.MultiReader(bytes.NewReader(taken), content)); err != nil {
		return err
	}
	if f.files[name].Size != header.Size {
		return refuse("%s has %d bytes, and its header speaks of %d", name, f.files[name].Size, header.Size).Mend("fetch the file again, whole")
	}
	f.weights[name] = header
	return nil
}

func (i *Intake) store(ctx context.Context, f *folder, name string, content io.Reader) error {
	left := i.Limit - i.used
	if left <= 0 {
		return i.tooLarge()
	}
	object, err := i.Put(ctx, name, content, left)
	if contract.CodeOf(err) == contract.CodeTooLarge {
		return i.tooLarge()
	}
	if err != nil {
		return err
	}
	i.used += object.Size
	i.stored = append(i.stored, object.ID)
	f.files[name] = file{contract.FileInfo{Path: name, SHA256: object.SHA256, Size: object.Size}, object.ID}
	return nil
}

func (i *Intake) tooLarge() error {
	return contract.Errorf(contract.CodeTooLarge, "the model is larger than %d bytes", i.Limit).On("file").
		Mend("put it into a folder of the machine that trains, and add it as path:/folder")
}

// damaged passes an error that speaks for itself, and says of any other that the archive is damaged.
func damaged(err error) error {
	if err == nil || errors.Is(err, io.EOF) || contract.CodeOf(err) != contract.CodeInternal {
		return err
	}
	return refuse("the archive cannot be read: %w", err).Mend("pack the model's folder again, as .zip, .tar or .tar.gz")
}
