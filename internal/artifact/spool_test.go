package artifact_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/artifact"
	"github.com/vibeflow/vibeflow/internal/seal"
)

const (
	block  = 64 << 10
	sealed = block + seal.Overhead
)

func spooling(t *testing.T, folder string, master []byte) *artifact.Store {
	t.Helper()
	s, err := artifact.Open(t.Context(), artifact.Options{BucketURL: "mem://", MasterKey: master, Index: newIndex(),
		SpoolDir: folder, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func write(t require.TestingT, p *artifact.Part, offset int, content []byte) {
	n, err := p.Write(int64(offset), bytes.NewReader(content))
	require.NoError(t, err)
	require.EqualValues(t, offset+len(content), n)
}

func arrived(t require.TestingT, p *artifact.Part) []byte {
	r, err := p.Open()
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return content
}

// TestAPartIsWhatWasWritten, whatever the chunks were and wherever a sender began again or was cut off.
func TestAPartIsWhatWasWritten(t *testing.T) {
	folder, all := t.TempDir(), noise(5*block)
	broken := errors.New("the connection broke")
	s := spooling(t, folder, masterKey)
	rapid.Check(t, func(rt *rapid.T) {
		p := s.Part("run-sha")
		require.NoError(rt, p.Remove())
		border := rapid.SampledFrom([]int{0, 1, block - 1, block, block + 1, 2 * block})
		var want []byte
		for range rapid.IntRange(1, 6).Draw(rt, "chunks") {
			offset := len(want)
			if rapid.Bool().Draw(rt, "again") {
				offset = rapid.IntRange(0, len(want)).Draw(rt, "offset")
			}
			shift := rapid.IntRange(0, block).Draw(rt, "shift") // other bytes than before at the same place
			n := border.Draw(rt, "length") + rapid.IntRange(0, 3).Draw(rt, "more")
			content := all[shift : shift+n]
			if rapid.Bool().Draw(rt, "cut off") {
				got, err := p.Write(int64(offset), io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)))
				require.ErrorIs(rt, err, broken)
				require.EqualValues(rt, offset+n, got)
			} else {
				write(rt, p, offset, content)
			}
			want = append(bytes.Clone(want[:offset]), content...)
			n64, err := spoolAgain(t, folder).Received()
			require.NoError(rt, err)
			require.EqualValues(rt, len(want), n64)
		}
		require.True(rt, bytes.Equal(want, arrived(rt, p)))
	})
}

// spoolAgain is the same part after a restart.
func spoolAgain(t *testing.T, folder string) *artifact.Part {
	s, err := artifact.Open(t.Context(), artifact.Options{BucketURL: "mem://", MasterKey: masterKey, Index: newIndex(),
		SpoolDir: folder, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return s.Part("run-sha")
}

func TestWhatWaitsInTheSpoolIsSealed(t *testing.T) {
	folder := t.TempDir()
	p := spooling(t, folder, masterKey).Part("run-sha")
	write(t, p, 0, bytes.Repeat([]byte("a user's words "), 10_000))
	on, err := os.ReadFile(filepath.Join(folder, "run-sha.sealed"))
	require.NoError(t, err)
	require.NotContains(t, string(on), "words")
	info, err := os.Stat(filepath.Join(folder, "run-sha.sealed"))
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
}

func TestChunksThatLeaveAGapAreRefused(t *testing.T) {
	folder := t.TempDir()
	p := spooling(t, folder, masterKey).Part("run-sha")
	_, err := p.Write(1, strings.NewReader("x"))
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
	require.Empty(t, files(t, folder))
	write(t, p, 0, []byte("abc"))
	_, err = p.Write(4, strings.NewReader("x"))
	require.Equal(t, contract.CodeConflict, contract.CodeOf(err))
	require.Equal(t, "abc", string(arrived(t, p)))
}

// TestATornBlock: a process dies while it writes a block; the upload goes on from the block before.
func TestATornBlock(t *testing.T) {
	folder, content := t.TempDir(), noise(3*block)
	p := spooling(t, folder, masterKey).Part("run-sha")
	path := filepath.Join(folder, "run-sha.sealed")
	for name, tear := range map[string]func(b []byte) []byte{
		"cut":        func(b []byte) []byte { return b[:len(b)-1000] },
		"a few left": func(b []byte) []byte { return b[:2*sealed+3] },
		"zeros":      func(b []byte) []byte { clear(b[2*sealed+10:]); return b },
	} {
		write(t, p, 0, content)
		on, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, tear(on), 0o600))
		n, err := p.Received()
		require.NoError(t, err)
		require.EqualValues(t, 2*block, n, name)
		write(t, p, int(n), content[n:])
		require.True(t, bytes.Equal(content, arrived(t, p)), name)
	}
}

func TestChangedAndSwappedBlocksAreRefused(t *testing.T) {
	folder, content := t.TempDir(), noise(3*block)
	s := spooling(t, folder, masterKey)
	p, twin := s.Part("run-sha"), s.Part("run-other")
	write(t, p, 0, content)
	write(t, twin, 0, content)
	path := filepath.Join(folder, "run-sha.sealed")
	on, err := os.ReadFile(path)
	require.NoError(t, err)
	other, err := os.ReadFile(filepath.Join(folder, "run-other.sealed"))
	require.NoError(t, err)
	flipped, moved, foreign := bytes.Clone(on), bytes.Clone(on), bytes.Clone(on)
	flipped[100] ^= 1
	copy(moved, on[sealed:2*sealed])
	copy(foreign, other[:sealed])
	for name, b := range map[string][]byte{"flipped": flipped, "moved": moved, "another part's": foreign} {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		r, err := p.Open()
		require.NoError(t, err)
		_, err = io.ReadAll(r)
		require.Equal(t, contract.CodeUnavailable, contract.CodeOf(err), name)
		require.ErrorIs(t, err, seal.ErrChanged, name)
		require.NoError(t, r.Close())
		_, err = p.Write(10, strings.NewReader("x"))
		require.Equal(t, contract.CodeConflict, contract.CodeOf(err), "%s: nothing is built on it", name)
	}
	write(t, p, 0, content)
	require.True(t, bytes.Equal(content, arrived(t, p)), "sent again")
}

func TestAnotherMasterKeyBeginsUploadsAgain(t *testing.T) {
	folder, content := t.TempDir(), noise(3*block)
	write(t, spooling(t, folder, masterKey).Part("run-sha"), 0, content)
	p := spooling(t, folder, bytes.Repeat([]byte{2}, 32)).Part("run-sha")
	n, err := p.Received()
	require.NoError(t, err)
	require.Zero(t, n)
	write(t, p, 0, content)
	require.True(t, bytes.Equal(content, arrived(t, p)))
}

func TestPartsOfEarlierBuildsAreRemoved(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "job_1-abc.part"), []byte("in the clear"), 0o600))
	s := spooling(t, folder, masterKey)
	require.Empty(t, files(t, folder))
	write(t, s.Part("a-1"), 0, noise(3))
	write(t, s.Part("b-1"), 0, noise(3))
	require.NoError(t, s.RemoveParts(func(name string, written time.Time) bool {
		return name == "b-1" && time.Since(written) < time.Hour
	}))
	require.Equal(t, []string{"b-1.sealed"}, files(t, folder))
	require.NoError(t, s.Part("none").Remove())
}
