"""Images and label maps of odd types, shapes and values, whole files all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from campaign.sound import CASES, SEQUENCES
from campaign.trials import ANY, EITHER, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, save

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Odd:
    """A change of an image's voxels, and what is right for the only sequence and for one of four."""

    name: str
    change: Change
    alone: str
    among: str | None = None


def typed(kind: str) -> Change:
    """Return a change of data type alone."""
    return lambda voxels, _: voxels.astype(kind)


def with_axes(number: int) -> Change:
    """Return a change that adds axes of 1."""
    return lambda voxels, _: voxels.reshape(voxels.shape + (1,) * number)


def with_value(value: float, number: int) -> Change:
    """Return a change that puts a value into some voxels."""

    def change(voxels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        changed = voxels.astype(np.float32)
        changed.flat[rng.choice(changed.size, number, replace=False)] = value
        return changed

    return change


def behind(value: float) -> Change:
    """Return a change of the background, 0, to another value; z-scored where that could be in the brain."""

    def change(voxels: np.ndarray, _: np.random.Generator) -> np.ndarray:
        brain = voxels > 0
        scaled = (voxels - voxels[brain].mean()) / voxels[brain].std()
        return np.where(brain, scaled, value).astype(np.float32)

    return change


def coloured(voxels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Return an RGB image."""
    rgb = np.zeros(voxels.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for colour in "RGB":
        rgb[colour] = (voxels / voxels.max() * 255).astype(np.uint8)
    return rgb


IMAGES = [
    *[Odd(f"{kind} voxels", typed(kind), RIGHT) for kind in ("i4", "f4", "f8", "u2", ">i2", "i8", "u4")],
    *[Odd(f"{kind} voxels, imaginary part 0", typed(kind), REFUSED) for kind in ("c8", "c16")],
    Odd("complex voxels", lambda v, _: (v * (1 + 2j)).astype("c8"), REFUSED),
    Odd("RGB voxels", coloured, REFUSED),
    *[Odd(f"{n} trailing axes of 1", with_axes(n), RIGHT) for n in (1, 2, 4)],
    Odd("two axes", lambda v, _: v[:, :, 16], REFUSED),
    Odd("one axis", lambda v, _: v.ravel()[:9000], REFUSED),
    Odd("three channels", lambda v, _: np.stack([v] * 3, -1), REFUSED),
    Odd("a time series of seven", lambda v, _: np.stack([v] * 7, -1), REFUSED),
    Odd("no voxels", lambda v, _: v[:0], REFUSED),
    Odd("one slice", lambda v, _: v[:, :, 15:16], ANY, REFUSED),
    Odd("one voxel", lambda v, _: v[15:16, 15:16, 15:16], REFUSED),
    Odd("a row less", lambda v, _: v[:-1], ANY, REFUSED),
    Odd("turned by 90 degrees", lambda v, _: np.rot90(v).copy(), ANY, REFUSED),
    Odd("all 0", lambda v, _: v * 0, REFUSED),
    Odd("all 7", lambda v, _: v * 0 + 7, REFUSED),
    Odd("0 and 1 alone", lambda v, _: (v > 0).astype("i2"), REFUSED),
    Odd("all NaN", lambda v, _: v * np.float32("nan"), REFUSED),
    Odd("one infinite voxel", with_value(float("inf"), 1), REFUSED),
    Odd("one NaN voxel in some brain", with_value(float("nan"), 40), EITHER),
    Odd("NaN behind the brain", behind(float("nan")), EITHER),
    *[Odd(f"{value:g} behind the brain", behind(value), EITHER) for value in (-1000.0, -7.5, 13.0, 1e5)],
    Odd("scaled by 1e-30", lambda v, _: v * np.float32(1e-30), EITHER),
    Odd("scaled by 1e30", lambda v, _: v * np.float32(1e30), EITHER),
    Odd("float64 past float32", lambda v, _: v * 1e300, EITHER),
    Odd("negative", lambda v, _: -v, ANY),
    Odd("noise everywhere", lambda v, rng: rng.normal(size=v.shape), ANY),
    Odd("one bright voxel of 32767", with_value(32767, 1), ANY),
    Odd("0 but for one voxel", lambda v, _: (np.arange(v.size) == 9).reshape(v.shape) * 50.0, REFUSED),
    Odd("0 but for two voxels", lambda v, _: (np.arange(v.size) < 2).reshape(v.shape) * v.ravel()[:1] + 0.0, REFUSED),
]


def images(rng: np.random.Generator) -> Inputs:
    """Try each odd image as the only sequence, and as one of four."""
    for odd in IMAGES:
        yield f"only sequence: {odd.name}", odd_alone(odd, str(rng.choice(SEQUENCES)))
    for odd in IMAGES:
        yield f"one of four: {odd.name}", odd_among(odd, str(rng.choice(SEQUENCES)))


def odd_alone(odd: Odd, sequence: str) -> Prepare:
    """Return what makes a case of one odd image."""

    def prepare(place: Place) -> Plan:
        path = place.case("c1", sequences=[sequence]) / f"c1_{sequence}.nii.gz"
        write_odd(path, odd.change(place.sound.voxels("c1", sequence), place.rng), place.sound.affine)
        same = {"out/c1.nii.gz": place.sound.mask("c1", [sequence])}
        return Plan(place.predict(), odd.alone, (path.name,), same=same, absent=("out/c1.nii.gz",))

    return prepare


def odd_among(odd: Odd, sequence: str) -> Prepare:
    """Return what makes a case of four sequences, one of them odd, beside a sound one."""

    def prepare(place: Place) -> Plan:
        place.cohort(cases=CASES[:2])
        path = place.work / f"in/c1/c1_{sequence}.nii.gz"
        write_odd(path, odd.change(place.sound.voxels("c1", sequence), place.rng), place.sound.affine)
        sound = place.sound
        return Plan(
            place.predict(),
            odd.among or odd.alone,
            (path.name, sequence),
            same={"out/c1.nii.gz": sound.mask("c1")},
            others={"out/c2.nii.gz": sound.mask("c2")},
            absent=("out/c1.nii.gz",),
        )

    return prepare


def write_odd(path: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Write voxels of any type."""
    if voxels.dtype == np.int64:
        nib.save(nib.Nifti1Image(voxels, affine, dtype=np.int64), path)
    elif voxels.dtype.byteorder == ">":
        nib.save(nib.Nifti1Image(voxels, affine, nib.Nifti1Header(endianness=">")), path)
    else:
        save(path, voxels, affine)


CONTAINERS: dict[str, tuple[Callable[[np.ndarray, np.ndarray, Path], str], str]] = {}


def container(expect: str) -> Callable[..., Callable[..., str]]:
    """Note a function that writes FLAIR in another format and returns the file's name."""

    def note(write: Callable[[np.ndarray, np.ndarray, Path], str]) -> Callable[..., str]:
        CONTAINERS[(write.__doc__ or "").rstrip(".")] = write, expect
        return write

    return note


@container(RIGHT)
def write_nifti2(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """NIfTI-2."""
    nib.save(nib.Nifti2Image(voxels, affine), folder / "c1_flair.nii.gz")
    return "c1_flair.nii.gz"


@container(REFUSED)
def write_mgh(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """FreeSurfer's MGZ."""
    nib.save(nib.MGHImage(voxels.astype("f4"), affine), folder / "c1_flair.mgz")
    return "c1_flair.mgz"


@container(EITHER)
def write_pair(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """A pair of .hdr and .img."""
    nib.save(nib.Nifti1Pair(voxels, affine), folder / "c1_flair.img")
    return "c1_flair.img"


@container(REFUSED)
def write_lying_name(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """MGZ that is named .nii.gz."""
    (folder / write_mgh(voxels, affine, folder)).rename(folder / "c1_flair.nii.gz")
    return "c1_flair.nii.gz"


@container(EITHER)
def write_unpacked(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """Uncompressed NIfTI that is named .nii.gz."""
    save(folder / "x.nii", voxels, affine).rename(folder / "c1_flair.nii.gz")
    return "c1_flair.nii.gz"


@container(EITHER)
def write_packed(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """Compressed NIfTI that is named .nii."""
    save(folder / "x.nii.gz", voxels, affine).rename(folder / "c1_flair.nii")
    return "c1_flair.nii"


@container(REFUSED)
def write_dicom(voxels: np.ndarray, affine: np.ndarray, folder: Path) -> str:
    """The beginning of a DICOM file."""
    (folder / "c1_flair.dcm").write_bytes(bytes(128) + b"DICM" + bytes(900))
    return "c1_flair.dcm"


def containers(rng: np.random.Generator) -> Inputs:
    """Give other formats by --flair."""
    for name, (write, expect) in CONTAINERS.items():

        def prepare(place: Place, write: Callable[..., str] = write, expect: str = expect) -> Plan:
            folder = place.work / "in"
            folder.mkdir()
            name = write(place.sound.voxels("c1", "flair"), place.sound.affine, folder)
            same = {"out/c1.nii.gz": place.sound.mask("c1", ["flair"])}
            arguments = place.predict("--flair", f"in/{name}", "--case-id", "c1", source=None)
            return Plan(arguments, expect, (name,), same=same, absent=("out/c1.nii.gz",))

        yield f"--flair: {name}", prepare


FAMILIES = {"volume": (images, 200), "container": (containers, 20)}
