"""Tiny data sets laid out as each year's download."""

import csv
from pathlib import Path

import nibabel as nib
import numpy as np

from metakd_monai.data.years import YEARS
from metakd_monai.vocabulary import MODALITY_NAMES

SHAPE = (16, 18, 14)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
NEW_NAMES = dict(zip(MODALITY_NAMES, ("t2f", "t1n", "t1c", "t2w"), strict=True))


def make_layout(folder: Path, year: str, cases: int = 6, labelled: bool = True, shape: tuple = SHAPE) -> list[str]:
    """Write so many cases as in that year's training part (validation part when not labelled); return their names."""
    make = {"msd": make_msd, "2023": make_dashed, "2024": make_dashed}.get(year, make_underscored)
    return [make(folder, year, number, labelled, shape) for number in range(cases)]


def make_underscored(folder: Path, year: str, number: int, labelled: bool, shape: tuple) -> str:
    name, above, ending = {
        "2018": (f"Brats18_TCIA_{number:03d}_1", ("HGG", "LGG")[number % 2], ".nii"),
        "2019": (f"BraTS19_TCIA_{number:03d}_1", ("HGG", "LGG")[number % 2], ".nii.gz"),
        "2020": (f"BraTS20_{'Training' if labelled else 'Validation'}_{number + 1:03d}", "", ".nii.gz"),
        "2021": (f"BraTS2021_{number:05d}", "", ".nii.gz"),
    }[year]
    parts = {f"{name}_{m}{ending}": image_of(number, n, shape) for n, m in enumerate(MODALITY_NAMES)}
    parts |= {f"{name}_seg{ending}": labels_of(year, shape)} if labelled else {}
    write(folder / (above if labelled else "") / name, parts)
    return name


def make_dashed(folder: Path, year: str, number: int, labelled: bool, shape: tuple) -> str:
    name = f"BraTS-GLI-{number // 2:05d}-{100 + number % 2:03d}"  # two time points of each patient
    parts = {f"{name}-{NEW_NAMES[m]}.nii.gz": image_of(number, n, shape) for n, m in enumerate(MODALITY_NAMES)}
    parts |= {f"{name}-seg.nii.gz": labels_of(year, shape)} if labelled else {}
    write(folder / name, parts)
    return name


def make_msd(folder: Path, year: str, number: int, labelled: bool, shape: tuple) -> str:
    name = f"BRATS_{number:03d}"
    stack = np.stack([image_of(number, n, shape) for n in range(len(MODALITY_NAMES))], axis=-1)
    write(folder / ("imagesTr" if labelled else "imagesTs"), {f"{name}.nii.gz": stack})
    (folder / "imagesTr").mkdir(exist_ok=True)
    (folder / "imagesTr" / f"._{name}.nii.gz").write_bytes(b"litter")
    if labelled:
        write(folder / "labelsTr", {f"{name}.nii.gz": labels_of(year, shape)})
    return name


def image_of(number: int, channel: int, shape: tuple) -> np.ndarray:
    """A bright box in air, noisy."""
    image = np.zeros(shape, np.int16)
    inside = image[2:-2, 2:-2, 2:-2]
    inside[:] = np.random.default_rng([number, channel]).integers(100, 200, inside.shape)
    return image


def labels_of(year: str, shape: tuple) -> np.ndarray:
    """Oedema 4 voxels, necrosis 2, enhancing tumour 1, resection cavity (2024) 1, along an axis."""
    labels, values = np.zeros(shape, np.uint8), YEARS[year].labels
    row = [values.oedema] * 4 + [values.necrosis] * 2 + [values.enhancing, *values.outside]
    labels[3 : 3 + len(row), 5, 5] = row
    return labels


def write(folder: Path, files: dict[str, np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, voxels in files.items():
        nib.save(nib.Nifti1Image(voxels, AFFINE), folder / name)


def write_grades(folder: Path, grades: dict[str, str]) -> None:
    """BraTS 2020's table."""
    with (folder / "name_mapping.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("Grade", "BraTS_2020_subject_ID"), *((g, name) for name, g in grades.items())])
