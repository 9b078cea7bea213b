#!/usr/bin/env bash
# Check the bundle as the Model Zoo's CI does in full mode, offline; see scripts/deploy/verify_bundle.py.
# Usage: scripts/deploy/verify_bundle.sh [BUNDLE_FOLDER] [--model-info FILE] [--dataset-dir CASES]
#   Without --dataset-dir, three small simulated cases are made.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
"$root/scripts/setup.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONWARNINGS=ignore
"$root/.venv/bin/metakd" simulate "$work/cases" --cases 3 --seed 0 --shape 24,28,24 --spacing 6 > "$work/log"
"$root/.venv/bin/python" "$root/scripts/deploy/verify_bundle.py" --dataset-dir "$work/cases" "$@"
