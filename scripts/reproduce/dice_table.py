"""Print the Dice of ET, TC and WT for folders of masks. Usage: dice_table.py REFERENCE_DIR MASK_DIR [MASK_DIR ...]."""

import sys
from pathlib import Path

import numpy as np
import torch
from monai.metrics import compute_dice

from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_voxels
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import REGION_NAMES


def regions(path: Path) -> torch.Tensor:
    """Read a label map as region masks ``(1, R, *S)``."""
    return labels_to_regions(torch.from_numpy(read_voxels(path))[None])[None]


def main(reference: str, folders: list[str]) -> None:
    """Print one row for each folder, the mean over its cases."""
    cases = [case for case in find_cases(reference) if case.label is not None]
    print(f"{'masks':<24}" + "".join(f"{name:>8}" for name in REGION_NAMES) + f"{'cases':>8}")
    for folder in folders:
        dice = [
            compute_dice(regions(Path(folder) / f"{case.case_id}.nii.gz"), regions(case.label), ignore_empty=False)
            for case in cases
            if case.label is not None
        ]
        means = np.asarray(torch.cat(dice)).mean(axis=0)
        print(f"{Path(folder).name:<24}" + "".join(f"{value:8.3f}" for value in means) + f"{len(dice):8d}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
