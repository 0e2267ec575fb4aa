#!/bin/sh
# Generated code and module files are what their sources say.
set -eu
before=$(git hash-object api/apigen/apigen.gen.go)
go generate ./api/...
[ "$before" = "$(git hash-object api/apigen/apigen.gen.go)" ] || { echo "api/apigen was out of date with api/openapi.yaml: commit what changed" >&2; exit 1; }
go mod tidy -diff >/dev/null || { echo "go.mod is not tidy: run go mod tidy" >&2; exit 1; }
