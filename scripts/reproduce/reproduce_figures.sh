#!/usr/bin/env bash
# The paper's Fig. 1, 3, 4, 5, 6, 9 and Table 6 at a small size: seven methods on simulated cases (figures.toml), AV-MNIST
# (the embedded stand-in) and a simulated ADNI cohort. Half an hour on two free cores; with your own cases, hours.
# Usage: scripts/reproduce/reproduce_figures.sh OUTPUT [CASES [options of metakd study]]
#   CASES  labelled cases with four sequences; default 12 simulated ones
# Start it again after an interruption: what is done is kept in OUTPUT.
set -euo pipefail
if [ $# -lt 1 ]; then sed -n '2,6p' "$0" | cut -c3- >&2; exit 2; fi
output=$(realpath -m "$1")
cases=$(realpath -m "${2:-$output/cases}")
shift $(($# < 2 ? $# : 2))
cd "$(dirname "$0")/../.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore THP_MEM_ALLOC_ENABLE=1
[ -d "$cases" ] || metakd simulate "$cases" --cases 12 --shape 48,60,48 --spacing 3
metakd study scripts/reproduce/figures.toml --cases "$cases" --output "$output/study" "$@"
run=$output/study/MetaKD/seed0/fold0
case=$(find "$cases" -name '*seg.nii.gz' -printf '%h\n' | sort | head -n 1)
draw() { python scripts/reproduce/draw_figure.py "$@" --output "$output"; }
draw fig1 "$run" --case "$case"
draw fig3 "$output/study"
draw fig4 "alpha 0=$output/study/alpha_0/seed0/fold0/published/model.pt" "MetaKD=$run/published/model.pt" --case "$case"
draw fig5a "$run"
draw fig5c "$run"
draw fig6 "$run"
draw table6 "$output/study"
train() { python -m monai.bundle run training --config_file "bundles/$1/configs/train.json" --output_dir "$2" "${@:3}"; }
[ -f "$output/avmnist/model.pt" ] || train avmnist_metakd_classification "$output/avmnist"
draw fig5b "$output/avmnist"
[ -d "$output/adni_raw" ] || metakd adni-simulate "$output/adni_raw"
[ -d "$output/adni_cohort" ] || metakd adni-prepare "$output/adni_raw" --output "$output/adni_cohort"
[ -f "$output/adni/model.pt" ] || train adni_metakd_classification "$output/adni" --dataset_dir "$output/adni_cohort"
draw fig9 "$output/adni"
