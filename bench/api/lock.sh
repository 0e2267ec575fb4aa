#!/bin/sh
# Makes rival.lock anew from rival.in. Run from the repository's root: sh bench/api/lock.sh (needs uv in PATH, or UV=…).
set -eu
cd "$(dirname "$0")"
"${UV:-uv}" pip compile rival.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
  --no-annotate --custom-compile-command "sh bench/api/lock.sh" -o rival.lock
