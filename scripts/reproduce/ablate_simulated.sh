#!/usr/bin/env bash
# What dropping and distillation do for simulated training: MetaKD (alpha 0.1), alpha 0 and no dropping, all else equal.
# A narrower network than the shipped one, with own encoder blocks at two scales too, on whole brains of 3 mm. With
# dropping: two drawn subsets and two single sequences of each brain; the drawn ones are all four sequences in the first
# third of the training, and always drawn in the last.
# Usage: scripts/reproduce/ablate_simulated.sh OUTPUT ATLAS_DIR REAL_DIR [SEEDS] [options of the configurations]
#   ATLAS_DIR, REAL_DIR  as in train_shipped.sh; the cases of REAL_DIR are trained on and so in no comparison
#   SEEDS                default "0 1"
# Stop it whenever you like and start it again; several at once, each with seeds of its own, share OUTPUT.
set -euo pipefail
if [ $# -lt 3 ]; then sed -n '2,9p' "$0" | cut -c3- >&2; exit 2; fi
output=$(realpath -m "$1")
atlas=$(realpath -e "$2")
real=$(realpath -e "$3")
seeds=${4:-0 1}
shift $(($# < 4 ? $# : 4))
cd "$(dirname "$0")/../.."
scripts/setup.sh
export PATH="$PWD/.venv/bin:$PATH" PYTHONWARNINGS=ignore THP_MEM_ALLOC_ENABLE=1
configs=bundles/brats_mri_metakd_segmentation/configs
train() {
    local name=$1
    shift
    [ -f "$output/$name/final.pt" ] && return
    python -m monai.bundle run training \
        --config_file "['$configs/train.json','$configs/experimental.json','$configs/train_simulated.json']" \
        --atlas "$atlas" --real "$real" --output_dir "$output/$name" --spacing "[3,3,3]" --roi_size "[128,128,128]" \
        --network_def#modality_specific_scales 2 --max_iterations 2400 --val_interval 2400 --validation_cases 6 "$@"
    python scripts/weights/publish.py "$output/$name/checkpoint.pt" --output "$output/$name/final.pt" --input-stride 3
}
dropping=(--subsets_per_sample 2 --single_modality_passes 2 --warm_up 800 --ramp 800)
for seed in $seeds; do
    train "metakd_$seed" --seed "$seed" --alpha 0.1 "${dropping[@]}" "$@"
    train "alpha0_$seed" --seed "$seed" --alpha 0 "${dropping[@]}" "$@"
    train "no_dropping_$seed" --seed "$seed" --alpha 0.1 --dropping_prob 0 "$@"
done
