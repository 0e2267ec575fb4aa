#!/bin/sh
# Says what the tests need from the system and do not find, with the exact remedy.
missing=0
need() { # command, why, remedy
  command -v "$1" >/dev/null 2>&1 || { echo "missing: $1 ($2). Install it: $3" >&2; missing=1; }
}
need gcc "Go's race detector is built with cgo" "apt-get install gcc libc6-dev"
need node "the web app is built and tested with it" "apt-get install nodejs npm (20.19 or newer), or https://nodejs.org"
need npm "the web app is built and tested with it" "it comes with Node.js"
[ -x "${VIBEFLOW_CHROMIUM:-/usr/bin/chromium}" ] ||
  { echo "missing: Chromium (the web app is walked through in it). Install it: apt-get install chromium, or set VIBEFLOW_CHROMIUM to a Chrome" >&2; missing=1; }
need python3 "the runner is Python" "apt-get install python3 python3-venv"
python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv module. Install it: apt-get install python3-venv" >&2; missing=1; }
python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null ||
  { echo "python3 is $(python3 --version 2>&1); the runner needs 3.11 to 3.13: set VIBEFLOW_PYTHON to one" >&2; [ -n "$VIBEFLOW_PYTHON" ] || missing=1; }
exit $missing
