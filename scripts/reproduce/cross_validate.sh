#!/usr/bin/env bash
# Cross-validation on real cases: go on from given weights on all folds but one, score the 15 subsets on that one, for
# each fold; then one table over all cases. What the shipped weights' recipe is chosen by (docs/results/evidence.md).
# Usage: scripts/reproduce/cross_validate.sh CASES OUTPUT NAME [options of metakd train]
#   CASES   labelled cases with four sequences, such as those that shared data unpack to
#   OUTPUT  for all names: the folds, the start; OUTPUT/NAME is the run's
# FOLDS="0 1" does only these; START=FILE begins with other weights than the bundle's. Ten minutes a fold on two cores;
# stop it whenever you like and start it again.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,8p' "$0" | cut -c3- >&2; exit 2; fi
cases=$(realpath -e "$1")
output=$(realpath -m "$2")
name=$3
shift 3
cd "$(dirname "$0")/../.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore THP_MEM_ALLOC_ENABLE=1
start=$(realpath -e "${START:-bundles/brats_mri_metakd_segmentation/models/model.pt}")
python scripts/reproduce/deal_folds.py "$cases" "$output"
[ -f "$output/start.pt" ] || python scripts/weights/publish.py "$start" --output "$output/start.pt" --input-stride 1
for fold in ${FOLDS:-0 1 2 3}; do
    run=$output/$name/fold$fold
    [ -f "$run/model.pt" ] || metakd train --overlay experimental.json --overlay train_real.json \
        --dataset_dir "$output/fold$fold/train" --output_dir "$run" --init_weights "$output/start.pt" "$@"
    [ -f "$run/published/model.pt" ] || python scripts/weights/publish.py "$run/model.pt" \
        --output "$run/published/model.pt" --input-stride 2 --window whole
    metakd benchmark --cases "$output/fold$fold/test" --weights "$run/published/model.pt" --output "$run/benchmark" \
        --postprocessing none
done
python scripts/reproduce/cross_validation_table.py "$output/$name"/fold*/benchmark --output "$output/$name/table.md"
