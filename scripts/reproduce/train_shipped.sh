#!/usr/bin/env bash
# The recipe of the weights that the bundle ships: simulated training on crops, then on whole brains, without
# distillation; then MetaKD on real cases, one training for each fold of a cross-validation, and the mean of their
# weights in fp16 with input_stride 2. Why in parts: docs/results/weights-history.md.
# Usage: scripts/reproduce/train_shipped.sh OUTPUT ATLAS_DIR REAL_DIR CASES [options of the simulated trainings]
#   ATLAS_DIR  tissue maps of SRI24, MNI152 and Colin27, as scripts/weights/prepare_atlases.py makes them
#   REAL_DIR   labelled cases with four sequences to simulate from, whose licence lets weights be shared
#   CASES      labelled cases with four sequences to train on and cross-validate with, of such a licence
# The trainings on real cases are those of scripts/reproduce/shipped.toml, or of PLAN=FILE; REAL_OPTIONS="--device cuda:0"
# are options of metakd study, which does them.
# About twenty hours of a CPU with bf16; stop it whenever you like and start it again. For a GPU: --device cuda:0
set -euo pipefail
if [ $# -lt 4 ]; then sed -n '2,12p' "$0" | cut -c3- >&2; exit 2; fi
output=$(realpath -m "$1")
atlas=$(realpath -e "$2")
real=$(realpath -e "$3")
cases=$(realpath -e "$4")
plan=$(realpath -e "${PLAN:-$(dirname "$0")/shipped.toml}")
shift 4
cd "$(dirname "$0")/../.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore THP_MEM_ALLOC_ENABLE=1
configs=bundles/brats_mri_metakd_segmentation/configs
train() {
    python -m monai.bundle run training \
        --config_file "['$configs/train.json','$configs/experimental.json','$configs/train_simulated.json']" \
        --atlas "$atlas" --real "$real" --network_def#channels "[8,24,48,96,192]" --alpha 0 \
        --meta_interval 100 --meta_cases 4 --validation_cases 6 --val_interval 700 "$@"
}
on_whole_brains() {
    local from=$1 to=$2
    shift 2
    train --output_dir "$output/$to" --init_weights "$output/$from/checkpoint.pt" --roi_size "[192,192,192]" \
        --initial_network#window whole --learning_rate 0.0015 "$@"
}
# Two brains for each step. Ours were two processes' (multi_gpu_train.json, half the iterations), which twice the
# iterations that accumulate equal.
with_each_alone() {
    local from=$1 to=$2 seed=$3
    shift 3
    on_whole_brains "$from" "$to" --single_modality_passes 4 --accumulation_steps 2 --seed "$seed" \
        --learning_rate 0.002 --meta_interval 500 --val_interval 1000 "$@"
}
train --output_dir "$output/crops" --max_iterations 1500 --lr_scheduler#iterations 1800 --seed 4 "$@"
on_whole_brains crops whole --max_iterations 700 --lr_scheduler#iterations 700 --seed 5 "$@"
on_whole_brains whole more --max_iterations 775 --lr_scheduler#iterations 3500 --seed 6 "$@"
on_whole_brains more last --max_iterations 5000 --lr_scheduler#iterations 5000 --seed 7 \
    --meta_interval 200 --val_interval 1000 "$@"
with_each_alone last alone 8 --max_iterations 3000 --lr_scheduler#iterations 3000 "$@"
with_each_alone alone anew 10 --max_iterations 2460 --lr_scheduler#iterations 2460 "$@"
subsets=(--single_modality_passes 2 --subsets_per_sample 3)
with_each_alone anew many 13 "${subsets[@]}" --max_iterations 3450 --lr_scheduler#iterations 3450 "$@"
python scripts/weights/publish.py "$output/many/model.pt" --output "$output/copied/checkpoint.pt" --modality-specific-scales 2
with_each_alone copied own 23 "${subsets[@]}" --max_iterations 3400 --lr_scheduler#iterations 3400 "$@"
with_each_alone own borders 31 "${subsets[@]}" --learning_rate 0.0015 \
    --max_iterations 2000 --lr_scheduler#iterations 2000 "$@"
agent=("${subsets[@]}" --learning_rate 0.001 --meta_interval 250 --max_iterations 900 --lr_scheduler#iterations 900)
on_whole_brains borders agent "${agent[@]}" --seed 37 "$@"
on_whole_brains agent longer "${agent[@]}" --seed 43 "$@"
python scripts/weights/publish.py "$output/longer/model.pt" --output "$output/simulated.pt" --input-stride 2 \
    --window whole --thresholds 0.2 0.2 0.5
metakd study "$plan" --cases "$cases" --weights "$output/simulated.pt" --output "$output/real" \
    ${REAL_OPTIONS:-}
python scripts/weights/publish.py "$output"/real/metakd/seed0/fold*/model.pt --output "$output/model.pt" \
    --input-stride 2 --window whole
