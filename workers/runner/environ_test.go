package runner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vibeflow/vibeflow/contract"
)

func TestOnlyListedVariablesReachPython(t *testing.T) {
	env := Python{Source: "/src"}.environ([]string{
		"PATH=/bin", "HOME=/root", "HF_HOME=/hf", "CUDA_VISIBLE_DEVICES=0", "https_proxy=p", "LC_ALL=C",
		"VIBEFLOW_WORKER_TOKEN=secret", "AWS_SECRET_ACCESS_KEY=secret", "TEMPORAL_API_KEY=secret", "PYTHONPATH=/elsewhere",
		"PYTHONSTARTUP=/evil.py", "LD_PRELOAD=/evil.so",
	})
	all := strings.Join(env, "\n")
	require.NotContains(t, all, "secret")
	require.NotContains(t, all, "evil")
	require.NotContains(t, all, "elsewhere")
	require.Subset(t, env, []string{"PATH=/bin", "HF_HOME=/hf", "CUDA_VISIBLE_DEVICES=0", "https_proxy=p", "PYTHONPATH=/src"})
}

func TestOnlyHubModelsGoOnline(t *testing.T) {
	require.Contains(t, environOf(contract.RunSpec{Model: contract.ModelRef{Source: "tiny:llama"}}), "HF_HUB_OFFLINE=1")
	require.Contains(t, environOf(contract.RunSpec{Model: contract.ModelRef{Source: "hub:a/b"}, Threads: 3}), "HF_HUB_OFFLINE=0")
	require.Contains(t, environOf(contract.RunSpec{Threads: 3}), "OMP_NUM_THREADS=3")
}

func TestStderrTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stderr.log")
	require.Empty(t, StderrTail(path))
	noise := strings.Repeat("step after step\n", 1000)
	text := noise + "Failed to load CPU gemm_4bit_forward: 'kernels'\nTraceback (most recent call last):\n  File \"x.py\", line 1\n" +
		"RuntimeError: boom\nand then\n"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	tail := StderrTail(path)
	require.LessOrEqual(t, len(tail), stderrBytes)
	require.True(t, strings.HasPrefix(tail, "step after step\n"), "it starts with a whole line")
	require.NotContains(t, tail, "gemm_4bit")
	require.Equal(t, "RuntimeError: boom", lastLineOfTraceback(tail))
	require.Equal(t, "Fatal Python error: Segmentation fault", lastLineOfTraceback("x\nFatal Python error: Segmentation fault\nThread 1\n"))
}
