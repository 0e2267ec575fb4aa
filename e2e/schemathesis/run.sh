#!/bin/sh
# Runs schemathesis with the arguments given, in an environment of its own in the user's cache folder, made once from the
# hashed lock for this Python. One that was left half-made is made anew.
set -eu
here="$(cd "$(dirname "$0")" && pwd)"
python="${VIBEFLOW_PYTHON:-python3}"
key="$({ "$python" -c 'import sys; print(sys.executable, sys.version)'; cat "$here/requirements.lock"; } | cksum | cut -d' ' -f1)"
root="${XDG_CACHE_HOME:-$HOME/.cache}/vibeflow/schemathesis-$key"
if [ ! -e "$root/made" ]; then
  rm -rf "$root"
  "$python" -m venv "$root"
  "$root/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements.lock" >&2
  touch "$root/made"
fi
exec "$root/bin/schemathesis" "$@"
