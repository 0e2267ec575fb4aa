#!/bin/sh
# Makes the hashed lock files. Run from the repository's root: sh workers/peft/lock.sh (needs uv in PATH, or UV=…).
# One lock serves Python 3.11 to 3.13 on Linux and macOS (--universal); --no-emit-index-url keeps addresses out.
set -eu
uv="${UV:-uv}"
cd "$(dirname "$0")"

compile() { # name, arguments of uv pip compile
  name="$1"
  shift
  "$uv" pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
    --custom-compile-command "sh workers/peft/lock.sh" -o "$name" "$@"
}

compile cuda.lock
compile cpu.lock --overrides cpu-overrides.txt
compile dev.lock --overrides cpu-overrides.txt --group dev

# The installer itself, for machines that have no uv: internal/pyenv gets it with pip into the cache folder.
echo "uv==0.13.9" | "$uv" pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
  --no-annotate --custom-compile-command "sh workers/peft/lock.sh" -o installer.lock
