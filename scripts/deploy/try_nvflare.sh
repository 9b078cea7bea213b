#!/usr/bin/env bash
# One round of federated averaging in NVFlare's simulator: a server, and two sites that train the bundle by MonaiAlgo.
# Usage: scripts/deploy/try_nvflare.sh FOLDER      (made; keeps an environment of its own for the next time)
set -euo pipefail
if [ $# -ne 1 ]; then echo "try_nvflare: $# arguments found; expected one folder" >&2; exit 2; fi
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1"
work=$(cd "$1" && pwd)
export PYTHONWARNINGS=ignore
[ -x "$work/venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$work/venv"
grep -E '^(torch|monai|numpy)==' "$root/constraints.txt" > "$work/constraints.txt" # the others conflict with NVFlare's
PIP_CONSTRAINT="$work/constraints.txt" "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    nvflare==2.7.3 monai-nvflare==0.4.0 -e "$root"
export PATH="$work/venv/bin:$PATH"
python "$root/scripts/deploy/nvflare_job.py" "$work"
rm -rf "$work/run"
nvflare simulator "$work/job" -w "$work/run" -n 2 -t 2 -c site-1,site-2 > "$work/log.txt" 2>&1 ||
    { tail -20 "$work/log.txt" >&2; exit 1; }
python - "$work/run" <<'PYTHON'
import sys
from pathlib import Path
import torch
from metakd_monai.networks import ImportanceWeights
(path,) = Path(sys.argv[1]).rglob("FL_global_model.pt")
model = torch.load(path, weights_only=True)["model"]
before, after = ImportanceWeights(seed=0).weights.detach(), torch.as_tensor(model["importance.weights"])
print(f"{path.name}: {len(model)} tensors, importance.weights {before.tolist()} -> {after.tolist()}")
sys.exit(bool(torch.equal(before, after)))
PYTHON
grep -oE 'Round [0-9]+ (started|finished)|aggregating [0-9]+ update\(s\) at round [0-9]+' "$work/log.txt"
