//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheDocumentHolds has schemathesis ask for every operation of the API document with what it allows and what it does
// not: no answer is a 5xx, and none is other than the document says; without credentials there is none. The same requests
// are made each time. Streams are left out: they do not end.
func TestTheDocumentHolds(t *testing.T) {
	t.Parallel()
	p := newSite(t)
	p.upload("sums", rows(40))
	folder, err := filepath.Abs("schemathesis")
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), filepath.Join(folder, "run.sh"), "--config-file", filepath.Join(folder, "schemathesis.toml"), "run", p.Client.Base+"/api/openapi.yaml", "-u", p.Client.Base,
		"-H", "Authorization: Bearer "+p.Client.Token, "--exclude-operation-id-regex", "^stream",
		"--phases", "coverage,fuzzing", "--max-examples", "5", "--generation-deterministic", "--request-timeout", "60", "--no-color",
		"--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,unsupported_method,ignored_auth",
		"--suppress-health-check", "all")
	cmd.Dir = t.TempDir() // it leaves notes of what it has found
	cmd.Env = append(os.Environ(), "HYPOTHESIS_STORAGE_DIRECTORY="+t.TempDir())
	out, err := cmd.CombinedOutput()
	said := strings.ReplaceAll(string(out), p.Client.Token, "…")
	require.NoError(t, err, said)
	require.Contains(t, said, "generated", said)
	t.Log(said[strings.LastIndex(said, "SUMMARY"):])
}
