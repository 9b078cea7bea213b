#!/usr/bin/env bash
# MONAI Label with the bundle: set up its own environment, start the real server on loopback, use it as its client
# would, stop it. Usage: scripts/deploy/try_monai_label.sh [REAL_CASE]
#   REAL_CASE   also segment this case folder through the server
#   LABEL_RAW   a folder with NIfTI sequences as scanned, in place of a simulated head; needs METAKD_TEMPLATE
#   LABEL_ENV   the environment (default .deployment/label-env), LABEL_PORT the port (default 18123)
set -euo pipefail
real=${1:+$(realpath -e "$1")} raw=${LABEL_RAW:+$(realpath -e "$LABEL_RAW")}
cd "$(dirname "$0")/../.."
root=$PWD bundle=brats_mri_metakd_segmentation
env=${LABEL_ENV:-$root/.deployment/label-env} port=${LABEL_PORT:-18123}
work=$root/.deployment/label
export PATH="$env/bin:$PATH" PYTHONWARNINGS=ignore MONAI_ZOO_SOURCE=local

say() { printf '\n== %s\n' "$*"; }

say "Environment ($env)"
if [ "$(cat "$env/installed" 2>/dev/null || true)" != "$(cat setup.cfg scripts/deploy/constraints-monailabel.txt | cksum)" ]; then
    [ -x "$env/bin/python" ] || python3 -m venv "$env"
    # The constraints hold for the isolated build of sam2 too, which would fetch another PyTorch.
    PIP_CONSTRAINT=$root/scripts/deploy/constraints-monailabel.txt pip install --quiet --disable-pip-version-check \
        monailabel "dicomweb-client[gcp]" dcmqi "$root[raw]"
    cat setup.cfg scripts/deploy/constraints-monailabel.txt | cksum > "$env/installed"
fi
pip install --quiet --disable-pip-version-check --no-deps "$root"
if ! python -c "import torchvision" 2>/dev/null; then
    # A torchvision built for CUDA beside a PyTorch for CPUs: declare the operators of its extension, which nothing calls.
    cp scripts/deploy/torchvision_without_cuda.py "$(python -c 'import site; print(site.getsitepackages()[0])')/sitecustomize.py"
fi
pip check
python -c "import monailabel, monai, torch, numpy; print('monailabel', monailabel.__version__, 'monai', monai.__version__, 'torch', torch.__version__, 'numpy', numpy.__version__)"

say "Cases, weights, the monaibundle app with our bundle ($work)"
rm -rf "$work" && mkdir -p "$work"
metakd simulate "$work/cohort" --cases 5 --seed 0 --shape 48,56,48 --spacing 3
monailabel apps --download --name monaibundle --output "$work/apps" > "$work/download.log"
model=$work/apps/monaibundle/model/$bundle
metakd bundle "$model"
python scripts/weights/make_test_weights.py "$work/cohort/Simulated_000" "$model/models/model.pt"
# The only change to the bundle, as anyone makes it whose machine is small: training crops of the cases' size.
crop() {  # bundle, length of edges
    python - "$1/configs/train.json" "$2" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))
config["roi_size"] = json.loads(sys.argv[2])
json.dump(config, open(sys.argv[1], "w"), indent=4)
PYTHON
}
crop "$model" "[48, 56, 48]"
python scripts/deploy/try_monai_label.py prepare "$work"

start() {  # app, studies
    say "Server on 127.0.0.1:$port: $(basename "$1"), $2"
    monailabel start_server --app "$1" --studies "$2" --host 127.0.0.1 --port "$port" \
        --conf models "$bundle" --conf sam2 false > "$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        curl -fs "http://127.0.0.1:$port/info/" > /dev/null && return
        kill -0 $server 2>/dev/null || { tail -n 20 "$work/server.log"; echo "label: the server did not start" >&2; exit 1; }
        sleep 1
    done
}

stop() { for process in "$@"; do kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true; done; }
server='' orthanc=''
trap 'stop $server $orthanc' EXIT

start "$work/apps/monaibundle" "$work/studies"
python scripts/deploy/try_monai_label.py use "$work" --url "http://127.0.0.1:$port" ${real:+--real-case "$real"}
stop "$server"

# Our own app, with the weights that the bundle ships.
export MONAI_LABEL_AUTO_UPDATE_SCORING=false MONAI_LABEL_SESSION_PATH=$work/sessions
metakd simulate "$work/whole" --cases 3 --seed 0 --shape 96,112,96 --spacing 1.5
cp -r examples/monai_label_app "$work/app"
mkdir -p "$work/app/model" && metakd bundle "$work/app/model/$bundle" && crop "$work/app/model/$bundle" "[64, 64, 64]"
python scripts/deploy/try_label_app.py prepare "$work"
[ -n "$raw" ] || export METAKD_TEMPLATE=$work/template.nii.gz
start "$work/app" "$work/files"
python scripts/deploy/try_label_app.py files "$work" --url "http://127.0.0.1:$port" ${raw:+--raw-case "$raw"}
stop "$server"

plugin=/usr/share/orthanc/plugins/libOrthancDicomWeb.so
if command -v Orthanc > /dev/null && [ -e $plugin ] && command -v itkimage2segimage > /dev/null; then
    # Examinations as DICOM; pydicom of today writes them, that of MONAI Label is older.
    pip install --quiet --disable-pip-version-check --no-deps --target "$work/pydicom3" "pydicom>=3"
    for case in "$work"/whole/*/; do
        name=$(basename "$case")
        PYTHONPATH=$work/pydicom3 python scripts/deploy/make_dicom_series.py "$case" "$work/dicom/$name" \
            --nifti "$work/dicom_nifti/$name"
    done
    say "Orthanc on 127.0.0.1:18147"
    cat > "$work/orthanc.json" <<JSON
{"Name": "TRIAL", "StorageDirectory": "$work/orthanc", "IndexDirectory": "$work/orthanc", "HttpPort": 18147,
 "DicomServerEnabled": false, "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": ["$plugin"]}
JSON
    Orthanc "$work/orthanc.json" > "$work/orthanc.log" 2>&1 &
    orthanc=$!
    sleep 2 && kill -0 $orthanc  # it ends at once where the port is taken
    until curl -fs http://127.0.0.1:18147/system > /dev/null; do kill -0 $orthanc && sleep 1; done
    python scripts/deploy/try_label_pacs.py upload "$work"
    export MONAI_LABEL_DICOMWEB_SEARCH_FILTER='{"Modality": "MR"}' MONAI_LABEL_DICOMWEB_CACHE_PATH=$work/cache
    rm -rf "$work/app" && cp -r examples/monai_label_app "$work/app"
    mkdir -p "$work/app/model" && metakd bundle "$work/app/model/$bundle" && crop "$work/app/model/$bundle" "[64, 64, 64]"
    start "$work/app" http://127.0.0.1:18147/dicom-web
    python scripts/deploy/try_label_pacs.py use "$work" --url "http://127.0.0.1:$port"
    stop "$server"
    rm -rf "$work/cache" # as on another server
    start "$work/app" http://127.0.0.1:18147/dicom-web
    python scripts/deploy/try_label_pacs.py come_back "$work" --url "http://127.0.0.1:$port"
else
    echo "skipped: DICOMweb (needs Debian's orthanc and orthanc-dicomweb, and dcmqi of PyPI in the environment)"
fi
echo "done"
