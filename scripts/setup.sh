#!/usr/bin/env bash
# Make .venv and install the project with its development extra. Does nothing when that is done already.
# Usage: scripts/setup.sh        (PYTHON=python3.12 scripts/setup.sh for another interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=$(cat setup.py setup.cfg pyproject.toml constraints.txt | cksum)
if [ "$(cat .venv/installed 2>/dev/null || true)" = "$wanted" ]; then exit 0; fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; then
    echo "setup: $("$python" --version 2>&1) found; expected Python 3.10 to 3.13 (set PYTHON=...)" >&2
    exit 2
fi
echo "Setting up .venv (once; a few minutes) ..."
[ -x .venv/bin/python ] || "$python" -m venv .venv
pins=constraints.txt
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || pins=/dev/null # some of these have no build for Python 3.10
PIP_CONSTRAINT=$pins .venv/bin/pip install --quiet --disable-pip-version-check -e '.[dev]'
echo "$wanted" > .venv/installed
