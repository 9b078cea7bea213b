#!/usr/bin/env bash
# A PACS (Orthanc on loopback) and examples/pacs/listen.py: three studies, one of them bad, and kills in the middle.
# Usage: scripts/deploy/try_pacs.sh [STUDIES TEMPLATE]
#   STUDIES      a folder with a folder of DICOM for each of three studies, one of them bad; default simulated heads
#   TEMPLATE     SRI24's T1 image without skull (docs/how-to/raw-scans.md)
#   PACS_ENV     the environment (default .deployment/pacs-env)
#   PACS_OPTIONS options of metakd predict, such as "--strip deepbet"
# Needs Debian's orthanc, orthanc-dicomweb, dcmtk; with dicom3tools, what comes out is checked too.
set -euo pipefail
studies=${1:+$(realpath -e "$1")} template=${2:+$(realpath -e "$2")}
cd "$(dirname "$0")/../.."
root=$PWD
env=${PACS_ENV:-$root/.deployment/pacs-env}
export PATH="$env/bin:$PATH" PYTHONWARNINGS=ignore

say() { printf '\n== %s\n' "$*"; }

for program in Orthanc storescu; do
    command -v "$program" > /dev/null || { echo "try_pacs: $program is not installed; expected apt-get install orthanc orthanc-dicomweb dcmtk" >&2; exit 2; }
done

say "Environment ($env)"
if [ "$(cat "$env/installed" 2>/dev/null || true)" != "$(cat setup.cfg examples/pacs/requirements.txt | cksum)" ]; then
    [ -x "$env/bin/python" ] || python3 -m venv "$env"
    pip install --quiet --disable-pip-version-check -r examples/pacs/requirements.txt "$root[raw,dicom]"
    cat setup.cfg examples/pacs/requirements.txt | cksum > "$env/installed"
fi
pip install --quiet --disable-pip-version-check --no-deps "$root"

say "The PACS and the listener"
mkdir -p "$root/.deployment"
cd "$root/.deployment" # far from the checkout's package
python "$root/scripts/deploy/try_pacs.py" pacs ${studies:+--studies "$studies" --template "$template"} \
    --options="${PACS_OPTIONS:-}"
echo "done"
