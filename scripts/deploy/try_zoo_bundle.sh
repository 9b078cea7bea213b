#!/usr/bin/env bash
# Prove the Model Zoo's zip: in an environment without metakd_monai, from the bundle's own folder, train two steps,
# segment, and pass the zoo's checks. Simulated cases; the weights are those of the two steps.
# Usage: scripts/deploy/try_zoo_bundle.sh FOLDER      (made; keeps the environment, about 1.5 GB, for the next time)
set -euo pipefail
if [ $# -ne 1 ]; then echo "try_zoo_bundle: $# arguments found; expected one folder" >&2; exit 2; fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
name=brats_mri_metakd_segmentation
unset PYTHONPATH
export PYTHONWARNINGS=ignore

say() { printf '\n== %s\n' "$*"; }

say "1/5 Build the zip"
"$root/scripts/setup.sh"
"$root/.venv/bin/python" "$root/scripts/deploy/build_zoo_bundle.py" "$work/$name.zip"
rm -rf "${work:?}/$name"
"$root/.venv/bin/python" -m zipfile -e "$work/$name.zip" "$work"

say "2/5 An environment with what the metadata requires (and jsonschema, for the checks), without metakd_monai"
[ -x "$work/venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/python" - "$work/$name/configs/metadata.json" > "$work/required.txt" <<'PYTHON'
import json, sys
found = json.load(open(sys.argv[1]))
stated = {"monai": "monai_version", "torch": "pytorch_version", "numpy": "numpy_version"}
for package, version in {**{p: found[key] for p, key in stated.items()}, **found["required_packages_version"]}.items():
    print(f"{package}=={version}")
PYTHON
PIP_CONSTRAINT="$root/constraints.txt" "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    -r "$work/required.txt" jsonschema
paste -sd' ' "$work/required.txt"
cd "$work/$name"
if "$work/venv/bin/python" -c 'import metakd_monai' 2> /dev/null; then echo "metakd_monai is here" >&2; exit 1; fi
python() { "$work/venv/bin/python" "$@"; }

say "3/5 Two steps of training, in the bundle's own folder"
python -m scripts.metakd_monai simulate "$work/cases" --cases 4 --seed 0 --shape 32,40,32 --spacing 5
python -m monai.bundle run training --config_file configs/train.json --dataset_dir "$work/cases" --output_dir models \
    --max_iterations 2 --roi_size "[32,32,32]" --num_workers 0 --device cpu --resume False > "$work/training.log" 2>&1 ||
    { tail -20 "$work/training.log" >&2; exit 1; }
cat models/training.csv

say "4/5 Inference without T1 and T1ce"
python -m monai.bundle run --config_file configs/inference.json --dataset_dir "$work/cases" --output_dir "$work/masks" \
    --modalities flair,t2 --device cpu > "$work/inference.log" 2>&1 || { tail -20 "$work/inference.log" >&2; exit 1; }
ls "$work/masks"

say "5/5 The checks of the Model Zoo"
rm models/checkpoint.pt
python "$root/scripts/deploy/verify_bundle.py" --dataset-dir "$work/cases" "$work/$name"
