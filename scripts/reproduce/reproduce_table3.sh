#!/usr/bin/env bash
# The paper's Table 3 from the real sources: set-up, AV-MNIST, all trainings, report. Of the 41 trainings of a seed, 28
# are other methods'; without them (--conditions) ten seeds take half an hour on two free cores.
# Usage: scripts/reproduce/reproduce_table3.sh MNIST_DIR FSDD_DIR_OR_ZIP OUTPUT [options of reproduce_table3.py]
# Start it again after an interruption: what is done is kept in OUTPUT.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,5p' "$0" | cut -c3- >&2; exit 2; fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mnist=$(realpath -m "$1") fsdd=$(realpath -m "$2") output=$(realpath -m "$3")
shift 3
cd "$root"
scripts/setup.sh
export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore
[ -f "$output/pairs/avmnist.json" ] || .venv/bin/metakd avmnist --mnist "$mnist" --fsdd "$fsdd" --output "$output/pairs"
.venv/bin/python scripts/reproduce/reproduce_table3.py "$output" --pairs "$output/pairs" "$@"
