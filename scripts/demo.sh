#!/usr/bin/env bash
# The whole way on simulated data: cohort, training, masks with and without T1ce, pictures, a Dice table.
# Usage: scripts/demo.sh [--fresh] [CASE_DIR]
#   CASE_DIR   also segment this real case with the weights just trained
#   --fresh    forget the training of an earlier run
set -euo pipefail
start_dir=$PWD
root=$(cd "$(dirname "$0")/.." && pwd)
case_dir="" fresh=""
for argument in "$@"; do
    case "$argument" in
        --fresh) fresh=yes ;;
        -*) echo "demo: unknown option $argument; expected --fresh or a case folder" >&2; exit 2 ;;
        *) case_dir=$(cd "$start_dir" && realpath "$argument") ;;
    esac
done
if [ -n "$case_dir" ] && [ ! -d "$case_dir" ]; then echo "demo: $case_dir: no such folder" >&2; exit 2; fi
cd "$root"
scripts/setup.sh
[ -z "$fresh" ] || rm -rf demo
export PATH="$root/.venv/bin:$PATH" PYTHONWARNINGS=ignore

say() { printf '\n== %s\n' "$*"; }

say "1/4 Simulated cohort (demo/cohort) and a held-out case (demo/heldout)"
[ -d demo/cohort ] || metakd simulate demo/cohort --cases 16 --seed 0 --shape 48,60,48 --spacing 3
[ -d demo/heldout ] || metakd simulate demo/heldout --cases 1 --seed 1000 --shape 48,60,48 --spacing 3

say "2/4 Training the bundle (demo/training; about 6 minutes on two cores; a finished run is kept, see --fresh)"
metakd train \
    --dataset_dir demo/cohort --output_dir demo/training \
    --max_iterations 400 --meta_interval 10 --val_interval 200 --checkpoint_interval 50 \
    --roi_size "[40,48,40]" --network_def#channels "[8,16,32,64]" \
    --learning_rate 0.05 --optimizer#momentum 0.9 \
    --meta_cases 3 --validation_fraction 0.1 --num_workers 0 --device cpu
cp demo/training/model.pt demo/model.pt

say "3/4 Segmenting the held-out case with all sequences, without T1ce, with T1 only"
predict() { metakd predict --weights demo/model.pt --device cpu --overwrite "$@"; }
predict demo/heldout --output demo/results/all
predict demo/heldout --output demo/results/without_t1ce --modalities flair,t1,t2
predict demo/heldout --output demo/results/t1_only --modalities t1

say "4/4 Dice of the held-out case"
python scripts/reproduce/dice_table.py demo/heldout demo/results/all demo/results/without_t1ce demo/results/t1_only
echo
echo "masks, pictures (.png) and reports (.json): demo/results/{all,without_t1ce,t1_only}"
echo "weights: demo/model.pt   logs: demo/training/*.csv, and tensorboard --logdir demo/training/tensorboard"

if [ -n "$case_dir" ]; then
    say "Your case: $case_dir"
    echo "These are demonstration weights, trained for minutes on a toy simulation: the mask shows that the"
    echo "tool runs on your files and grid, not where the tumour is."
    predict "$case_dir" --output demo/results/your_case
fi
