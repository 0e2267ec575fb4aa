#!/bin/sh
# Makes requirements.lock anew. Run from the repository's root: sh e2e/schemathesis/lock.sh (needs uv in PATH, or UV=…).
set -eu
echo "schemathesis==4.32.5" | "${UV:-uv}" pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
  --no-annotate --custom-compile-command "sh e2e/schemathesis/lock.sh" -o "$(dirname "$0")/requirements.lock"
