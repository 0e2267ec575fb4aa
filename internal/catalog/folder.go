package catalog

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vibeflow/vibeflow/contract"
)

// mostNames bounds how much of a folder is listed: a model has some dozens of files.
const mostNames = 10_000

// CheckFolder refuses a folder that holds no model which a runner would load: not there, without config.json, a tokenizer
// or safetensors. It goes by names alone and opens no file, so that whoever may ask learns little of a machine; a runner
// looks closer. Errors: CodeInvalid with the remedy.
func CheckFolder(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return refused("there is no folder %s on this machine", path).Mend("check the path; it must be there for the user who runs VibeFlow")
	case err != nil:
		return refused("%s cannot be read by the user who runs VibeFlow", path).Mend("change its permissions, or copy the model to a folder of that user")
	case !info.IsDir():
		return refused("%s is a file", path).Mend("name the folder that holds the model's config.json and safetensors")
	}
	names, err := list(path)
	if err != nil {
		return refused("%s cannot be read by the user who runs VibeFlow", path).Mend("change its permissions, or copy the model to a folder of that user")
	}
	if err := CheckNames(path, names); err != nil {
		return err
	}
	return nil
}

func refused(format, path string) *contract.Error {
	return contract.Errorf(contract.CodeInvalid, format, path).On("source")
}

func list(path string) ([]string, error) {
	folder, err := os.Open(path) //nolint:gosec // a folder, as was just seen
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	names, err := folder.Readdirnames(mostNames)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return names, err
}

// CheckNames refuses what, by the names in it, is no model that a runner would load; what is how it is called in the refusal.
// Nil is none.
func CheckNames(what string, names []string) *contract.Error {
	has := func(name string) bool { return slices.Contains(names, name) }
	hasKind := func(kinds ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(kinds, strings.ToLower(filepath.Ext(name))) })
	}
	switch {
	case has("snapshots") && !has("config.json"):
		return refused("%s is a cache folder of the Hugging Face Hub, not the model itself", what).Mend("name the folder below its snapshots/")
	case has("adapter_config.json") && !has("config.json"):
		return refused("%s holds an adapter, not a base model", what).Mend("merge it into its base first, or name the base")
	case hasKind(".gguf") && !hasKind(".safetensors"):
		return refused("%s holds GGUF files, which are for inference alone", what).Mend("get the model's safetensors, from which they were made")
	case !has("config.json"):
		return refused("%s has no config.json", what).Mend("give a folder in the Hugging Face layout, as save_pretrained writes it")
	case !hasKind(".safetensors") && hasKind(".bin", ".pt", ".pth", ".pkl", ".ckpt"):
		return refused("%s holds only pickled weights, which are never loaded because they can run code", what).
			Mend("save the model again with save_pretrained, which writes safetensors")
	case !hasKind(".safetensors"):
		return refused("%s holds no safetensors weights", what).Mend("save the model with save_pretrained, or fetch it again, whole")
	case !has("tokenizer.json"):
		return refused("%s has no tokenizer.json", what).Mend("save the model's fast tokenizer beside its weights (tokenizer.save_pretrained)")
	default:
		return nil
	}
}
