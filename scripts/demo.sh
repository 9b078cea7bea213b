#!/usr/bin/env bash
# In five minutes: a real case segmented with all and with fewer sequences, its report, and a short training.
# Usage: scripts/demo.sh [CASE_DIR]        CASE_DIR: also segment this case
set -euo pipefail
start_dir=$PWD
root=$(cd "$(dirname "$0")/.." && pwd)
case_dir=""
for argument in "$@"; do
    case "$argument" in
        -*) echo "demo: unknown option $argument; expected a case folder or nothing" >&2; exit 2 ;;
        *) case_dir=$(cd "$start_dir" && realpath "$argument") ;;
    esac
done
if [ -n "$case_dir" ] && [ ! -d "$case_dir" ]; then echo "demo: $case_dir: no such folder" >&2; exit 2; fi
cd "$root"
scripts/setup.sh
export PATH="$root/.venv/bin:$PATH" PYTHONWARNINGS=ignore

say() { printf '\n== %s\n' "$*"; }

say "1/4 A real case with the shipped weights: all sequences, without T1ce, FLAIR alone"
metakd demo --output demo/report
if [ -n "$case_dir" ]; then
    say "Your case: $case_dir"
    metakd predict "$case_dir" --output demo/your_case --overwrite --report
fi

say "2/4 Three simulated cases to train on (demo/cohort)"
last=demo/cohort/Simulated_002/Simulated_002_seg.nii.gz # written last
[ -f "$last" ] || metakd simulate demo/cohort --cases 3 --realistic --spacing 1 --overwrite

say "3/4 Two minutes of MetaKD training, from the shipped weights on (demo/training)"
bundle=$(metakd bundle --path)
python -m monai.bundle run training --config_file "$bundle/configs/train.json" \
    --dataset_dir demo/cohort --output_dir demo/training --resume False \
    --init_weights "$bundle/models/model.pt" "--initial_network#window" whole \
    --learning_rate 0.00001 --max_iterations 200 --meta_interval 10 --batch_size 1 --roi_size "[96,96,96]" \
    --meta_cases 1 --validation_fraction 0 --num_workers 0 --device cpu
metakd report demo/training # its curves

say "4/4 The real case again, with the weights just trained"
metakd predict demo/report/case --weights demo/training/model.pt --output demo/retrained --overwrite --report

cat <<END

demo/report/index.html      the case with all and with fewer sequences
demo/training/index.html    curves of the training
demo/retrained/index.html   the case with the new weights, which work but are no better than those shipped.
                            Two minutes on two simulated cases only show how a training runs.
END
if [ -n "$case_dir" ]; then echo "demo/your_case/index.html   your case"; fi
