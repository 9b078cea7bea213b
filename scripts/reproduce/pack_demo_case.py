"""Pack a case folder of BraTS as the one that comes with the package: pack_demo_case.py CASE.

Its brain's box must have the shape that metakd_monai.apps.report.demo_case names.
"""

import sys

import numpy as np
from PIL import Image

from metakd_monai.apps.report.demo_case import FOLDER, LABELS, SHAPE, fold
from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_label_of, read_sequences

QUALITY = 70  # of JPEG: greys differ by 1 % on average
PERCENTILES = (0.1, 99.9)


def main() -> None:
    """Write the pictures."""
    case = find_cases(sys.argv[1])[0]
    read = read_sequences(case.files)
    brain = np.any([image != 0 for image in read.channels.values()], axis=0)
    box = bounding_box(brain)
    if brain[box].shape != SHAPE or case.label is None:
        sys.exit(f"{sys.argv[1]}: a box of {brain[box].shape} found; expected {SHAPE}, and labels")
    labels = read_label_of(case.label, read.shape, np.asarray(read.affine))
    Image.fromarray(fold(np.where(brain, labels + 1, 0)[box].astype(np.uint8))).save(FOLDER / LABELS, optimize=True)
    for modality, image in read.channels.items():
        low, high = np.percentile(image[image != 0], PERCENTILES)
        greys = np.where(image == 0, 0, np.rint(np.clip((image - low) / (high - low), 0, 1) * 255)).astype(np.uint8)
        path = FOLDER / f"{modality.value}.jpg"
        Image.fromarray(fold(greys[box])).save(path, quality=QUALITY, optimize=True)


main()
