#!/usr/bin/env bash
# MONAI Deploy with the bundle: set up its own environment, lay examples/deploy_app out as a container has it, run it
# there on DICOM studies and NIfTI files, with the bundle's folder and its TorchScript export; compare.
# Usage: scripts/deploy/try_monai_deploy.sh [CASE]
#   CASE             a folder with NIfTI sequences without skull on one grid; default a simulated one
#   DEPLOY_RAW       a folder with NIfTI sequences as scanned, with skull; needs METAKD_TEMPLATE (docs/how-to/raw-scans.md)
#   DEPLOY_ENV       the environment (default .deployment/deploy-env)
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
    # The SDK asks for any holoscan-cli, and 5.0.0 does not package applications any more.
    pip install --quiet --disable-pip-version-check holoscan-cli==4.0.0
    cksum < examples/deploy_app/requirements.txt > "$env/installed"
fi
pip install --quiet --disable-pip-version-check --no-deps "$root"
pip list --disable-pip-version-check 2>/dev/null | grep -iE '^(monai|torch|numpy|highdicom|pydicom|holoscan|itk-elastix)'

say "A case as NIfTI, the bundle with weights, its TorchScript export, a container's layout ($work)"
rm -rf "$work" && mkdir -p "$work"
if [ -z "$case_dir" ]; then
    metakd simulate "$work/simulated" --cases 1 --seed 0 --shape 48,56,48 --spacing 3
    case_dir=$work/simulated/Simulated_000
fi
cp -r "$case_dir" "$work/nifti"
metakd bundle "$work/models/$name"
python scripts/weights/make_test_weights.py "$work/nifti" "$work/models/$name/models/model.pt"
(cd "$work/models/$name" && python -m monai.bundle ckpt_export network_def --filepath "$work/model.ts" \
    --ckpt_file models/model.pt --meta_file configs/metadata.json --config_file configs/inference.json > "$work/export.log" 2>&1)
python scripts/deploy/lay_out_map.py "$work/map" "$work/models"

say "The application"
python scripts/deploy/try_monai_deploy.py "$work" --bundle "$work/models/$name" --script "$work/model.ts"
echo "done"
