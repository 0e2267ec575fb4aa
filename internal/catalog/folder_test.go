package catalog

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

func TestFoldersWithoutAModelAreRefusedWithTheRemedy(t *testing.T) {
	t.Parallel()
	holding := func(names ...string) string {
		folder := t.TempDir()
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(folder, name), nil, 0o600))
		}
		return folder
	}
	cache := holding("refs")
	require.NoError(t, os.Mkdir(filepath.Join(cache, "snapshots"), 0o700))
	for name, c := range map[string]struct{ path, says, remedy string }{
		"missing":            {filepath.Join(t.TempDir(), "none"), "there is no folder", "check the path"},
		"a file":             {filepath.Join(holding("model.safetensors"), "model.safetensors"), "is a file", "name the folder"},
		"below a file":       {filepath.Join(holding("f"), "f", "x"), "cannot be read", "permissions"},
		"empty":              {holding(), "no config.json", "save_pretrained"},
		"no weights":         {holding("config.json", "tokenizer.json"), "no safetensors", "fetch it again"},
		"pickles alone":      {holding("config.json", "tokenizer.json", "pytorch_model.bin"), "can run code", "safetensors"},
		"no tokenizer":       {holding("config.json", "model.safetensors"), "no tokenizer.json", "tokenizer.save_pretrained"},
		"an adapter":         {holding("adapter_config.json", "adapter_model.safetensors"), "an adapter", "merge it"},
		"GGUF":               {holding("model.Q4_K_M.gguf"), "GGUF", "safetensors"},
		"a cache of the Hub": {cache, "cache folder", "snapshots/"},
	} {
		err := CheckFolder(c.path)
		require.Equal(t, contract.CodeInvalid, contract.CodeOf(err), name)
		require.ErrorContains(t, err, c.says, name)
		require.ErrorContains(t, err, c.path, name)
		require.ErrorContains(t, err, c.remedy, name)
	}
	require.NoError(t, CheckFolder(holding("config.json", "tokenizer.json", "model.safetensors", "pytorch_model.bin")))
	require.NoError(t, CheckFolder(holding("config.json", "tokenizer.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")))
}
