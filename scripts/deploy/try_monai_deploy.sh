#!/usr/bin/env bash
# MONAI Deploy with the bundle: set up its own environment, write DICOM series from a NIfTI case, run
# examples/deploy_app on them and on NIfTI files, with the bundle's folder and its TorchScript export; compare.
# Usage: scripts/deploy/try_monai_deploy.sh [CASE]
#   CASE         a folder with NIfTI sequences; default a simulated one
#   DEPLOY_CROP  cut this box out of its middle (a small one is quick), such as 96,112,48
#   DEPLOY_ENV   the environment (default .deployment/deploy-env)
set -euo pipefail
case_dir=${1:+$(realpath -e "$1")}
cd "$(dirname "$0")/../.."
root=$PWD name=brats_mri_metakd_segmentation
env=${DEPLOY_ENV:-$root/.deployment/deploy-env}
work=$root/.deployment/deploy
export PATH="$env/bin:$PATH" PYTHONWARNINGS=ignore
ulimit -s 32768 2>/dev/null || true  # what holoscan asks for

say() { printf '\n== %s\n' "$*"; }

say "Environment ($env)"
if [ "$(cat "$env/installed" 2>/dev/null || true)" != "$(cksum < examples/deploy_app/requirements.txt)" ]; then
    [ -x "$env/bin/python" ] || python3 -m venv "$env"
    pip install --quiet --disable-pip-version-check -r examples/deploy_app/requirements.txt "$root"
    cksum < examples/deploy_app/requirements.txt > "$env/installed"
fi
pip install --quiet --disable-pip-version-check --no-deps "$root"
pip check
pip list --disable-pip-version-check 2>/dev/null | grep -iE '^(monai|torch|numpy|highdicom|pydicom|holoscan)'

say "A case as NIfTI and as DICOM series, the bundle with weights, its TorchScript export ($work)"
rm -rf "$work" && mkdir -p "$work"
if [ -z "$case_dir" ]; then
    metakd simulate "$work/simulated" --cases 1 --seed 0 --shape 48,56,48 --spacing 3
    case_dir=$work/simulated/Simulated_000
fi
python scripts/deploy/make_dicom_series.py "$case_dir" "$work/dicom" --nifti "$work/nifti" ${DEPLOY_CROP:+--crop "$DEPLOY_CROP"}
metakd bundle "$work/$name"
python scripts/weights/make_test_weights.py "$work/nifti" "$work/$name/models/model.pt"
(cd "$work/$name" && python -m monai.bundle ckpt_export network_def --filepath "$work/model.ts" \
    --ckpt_file models/model.pt --meta_file configs/metadata.json --config_file configs/inference.json > "$work/export.log" 2>&1)
ls "$work" "$work/dicom"

say "The application"
python scripts/deploy/try_monai_deploy.py "$work" --bundle "$work/$name" --script "$work/model.ts"
echo "done"
