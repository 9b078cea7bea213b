"""Which file is the label map, on which grid, and with which values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from campaign.families.roles import Role, evaluated, listed, scored
from campaign.trials import EITHER, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, save

NO_LABELS = ("brainmask", "brain_mask", "mask", "dseg", "tissue_seg", "auto_seg", "brain_segmentation",
    "parenchyma_mask",
             "wmparc", "aseg", "hdbet_mask", "label-brain_mask", "ventricle_seg", "T1_mask", "roi",
             "edema_mask")  # fmt: skip


def choices(rng: np.random.Generator) -> Inputs:
    """Lay other masks beside the label map, or in its place: they are never trained on."""
    for name in NO_LABELS:
        yield f"{name} beside seg", with_mask(name, True)
        yield f"{name} alone", with_mask(name, False)


def with_mask(name: str, beside: bool) -> Prepare:
    """Return what makes a data set whose cases have another mask."""

    def prepare(place: Place) -> Plan:
        folder = place.cohort()
        for case in folder.iterdir():
            brain = (place.sound.voxels(case.name, "t1") > 0).astype(np.uint8)
            save(case / f"{case.name}_{name}.nii.gz", brain, place.sound.affine)
            if not beside:
                (case / f"{case.name}_seg.nii.gz").unlink()
        return Plan(place.datalist(), EITHER, lacks={"out/list.json": f"_{name}.nii"})

    return prepare


def noisy(size: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a change that moves every label by as much as this."""
    return lambda labels, rng: (labels + rng.uniform(-size, size, labels.shape)).astype(np.float32)


def with_label(value: float) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return a change that puts a value into one voxel."""

    def change(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        changed = labels.astype(np.float64)
        changed.flat[rng.integers(changed.size)] = value
        return changed

    return change


def with_first(labels: np.ndarray, *values: int) -> np.ndarray:
    """Return labels whose first voxels are these."""
    changed = labels.copy()
    changed.flat[: len(values)] = values
    return changed


VALUES = {
    "moved by as much as 1e-7": (noisy(1e-7), RIGHT),
    "moved by as much as 2e-4": (noisy(2e-4), RIGHT),
    "moved by as much as 0.02": (noisy(0.02), REFUSED),
    "times 0.99999": (lambda labels, _: labels * np.float32(0.99999), RIGHT),
    "times 63.75": (lambda labels, _: labels * 63.75, REFUSED),
    "times 51": (lambda labels, _: (labels * 51).astype(np.uint8), REFUSED),
    "as int32": (lambda labels, _: labels.astype(np.int32), RIGHT),
    "as float64": (lambda labels, _: labels.astype(np.float64), RIGHT),
    "as complex": (lambda labels, _: labels.astype(np.complex64), REFUSED),
    "with a trailing axis": (lambda labels, _: labels[..., None], RIGHT),
    "with four channels": (lambda labels, _: np.stack([labels] * 4, -1), REFUSED),
    "as one slice": (lambda labels, _: labels[:, :, 10:11], REFUSED),
    "without the last row": (lambda labels, _: labels[:-1], REFUSED),
    "with rows before it": (lambda labels, _: np.pad(labels, ((2, 0), (0, 0), (0, 0))), REFUSED),
    "with both 3 and 4": (lambda labels, _: with_first(labels, 3, 4), REFUSED),
    **{f"with one {v:g}": (with_label(v), REFUSED) for v in (5.0, -1.0, 255.0, 0.5, 256.0, 260.0, 1e20, float("nan"),
        float("inf"))},
}  # fmt: skip


def values(rng: np.random.Generator) -> Inputs:
    """Give label maps with values that are none, or that float files make of them."""
    roles = (evaluated("prediction"), evaluated("reference"), listed("seg"), scored("seg"))
    for recipe, (change, expect) in VALUES.items():
        for role in roles[: 4 if rng.random() < 0.25 else 3]:
            yield f"{role.name}: {recipe}", with_values(role, change, expect)


def with_values(role: Role, change: Callable[[np.ndarray, np.random.Generator], np.ndarray], expect: str) -> Prepare:
    """Return what makes the label map of a role with changed values."""

    def prepare(place: Place) -> Plan:
        import nibabel as nib

        for path in role.setting(place):
            image = nib.load(path)
            save(path, change(np.asarray(image.dataobj).astype(np.int16), place.rng), image.affine)
        return role.plan(place, expect)

    return prepare


def grids(rng: np.random.Generator) -> Inputs:
    """Lay label maps on another grid than their images, or than their predictions."""
    for role in (evaluated("prediction"), listed("seg"), scored("seg"), evaluated("reference")):
        for kind in range(4):
            millimetres = float(rng.uniform(2, 80))
            recipe = (f"moved by {millimetres:.1f} mm", "mirrored", "voxels of 3 mm", "moved by 1e-6 mm")[kind]
            yield f"{role.name}: {recipe}", on_grid(role, kind, millimetres)


def on_grid(role: Role, kind: int, millimetres: float) -> Prepare:
    """Return what makes the label map of a role on another grid."""

    def prepare(place: Place) -> Plan:
        import nibabel as nib

        for path in role.setting(place):
            image = nib.load(path)
            affine = image.affine.copy()
            if kind in (0, 3):
                affine[1, 3] += millimetres if kind == 0 else 1e-6
            else:
                affine[:3, :3] *= -1 if kind == 1 else 0.75
            save(path, np.asarray(image.dataobj), affine)
        return role.plan(place, RIGHT if kind == 3 else REFUSED)

    return prepare


FAMILIES = {"label file": (choices, 32), "label value": (values, 84), "label grid": (grids, 16)}
