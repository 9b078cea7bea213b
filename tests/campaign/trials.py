"""What is tried: an input, the command that meets it, and what is right then."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from campaign.sound import CASES, SEQUENCES, Sound

REFUSED, RIGHT, EITHER, ANY = "refused", "right", "either", "any"


@dataclass(frozen=True)
class Plan:
    """A command and what is right when it ends. Paths are relative to the working folder, those of references are not.

    Attributes:
        arguments: of the program.
        expect: REFUSED (status 1 or 2 and a clear line), RIGHT (status 0 and the outputs of ``same``), EITHER of the
            two, or ANY end that is clean, where nobody can tell that the input is wrong.
        culprit: a line of a refusal names one of these; nothing for any line.
        same: outputs of a success and the files that they equal: masks by voxel, others by byte. A name with ``*``
            stands for the one that there is.
        others: the same, of what is to be done in any case: the sound cases beside a bad one.
        lacks: text outputs of a success and a word that must not be in them.
        passed: a name and a mask: a success may also be that mask, where a line says that the name was skipped.
        absent: what must not be there after a refusal.
        program: ``metakd``, or ``bundle`` for MONAI's bundle command.
        action: in place of a command, a function that tries something itself, anywhere in the trial's folder, and
            returns what it found wrong, as ``(kind, words)``.
        is_action: there is one.
        seconds: limit; None for the campaign's.
        memory: most GiB that the command may take, None for no limit of its own.
    """

    arguments: list[str] = field(default_factory=list)
    expect: str = EITHER
    culprit: tuple[str, ...] = ()
    same: Mapping[str, Path] = field(default_factory=dict)
    others: Mapping[str, Path] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    passed: tuple[str, Path] | None = None
    absent: tuple[str, ...] = ()
    program: str = "metakd"
    action: Callable[[], list[tuple[str, str]]] | None = None
    is_action: bool = False
    seconds: float | None = None
    memory: float | None = None


class Place:
    """The folder that one trial has to itself; everything is made below it.

    Attributes:
        root: of the trial; ``canary`` in it shows that code was run.
        work: the working folder, some levels down, so that a path that climbs out of it is seen.
        rng: of this trial alone.
    """

    def __init__(self, root: Path, sound: Sound, rng: np.random.Generator) -> None:
        self.root, self.sound, self.rng = root, sound, rng
        self.work, self.canary = root / "a" / "b" / "work", root / "canary"

    def case(self, case: str = "c1", folder: str = "in", sequences: Iterable[str] = (*SEQUENCES, "seg")) -> Path:
        """Copy a sound case to ``folder/case`` and return that folder."""
        target = self.work / folder / case
        target.mkdir(parents=True, exist_ok=True)
        for name in sequences:
            shutil.copyfile(self.sound.file(case, name), target / f"{case}_{name}.nii.gz")
        return target

    def cohort(self, folder: str = "in", cases: Iterable[str] = CASES) -> Path:
        """Copy several sound cases and return the folder that holds theirs."""
        for case in cases:
            self.case(case, folder)
        return self.work / folder

    def masks(self, folder: str = "pred", cases: Iterable[str] = CASES[:2]) -> Path:
        """Copy masks that were made of sound cases, as predict names them."""
        target = self.work / folder
        target.mkdir(parents=True, exist_ok=True)
        for case in cases:
            shutil.copyfile(self.sound.mask(case), target / f"{case}.nii.gz")
        return target

    def predict(self, *arguments: object, source: str | None = "in", preview: bool = False) -> list[str]:
        """Return the arguments of ``metakd predict`` with the small weights, into ``out``."""
        given = [] if source is None else [source]
        extra = [] if preview else ["--no-preview"]
        return strings("predict", *given, "-o", "out", "--weights", self.sound.weights, *extra, *arguments)

    def evaluate(self, *arguments: object) -> list[str]:
        """Return the arguments of ``metakd evaluate`` of ``pred`` against ``in``, into ``out/scores.csv``."""
        return strings("evaluate", "pred", "in", "-o", "out/scores.csv", "--jobs", 1, *arguments)

    def datalist(self, *arguments: object) -> list[str]:
        """Return the arguments of ``metakd datalist`` of ``in``, into ``out/list.json``."""
        return strings("datalist", "in", "-o", "out/list.json", "--folds", 2, *arguments)

    def benchmark(self, *arguments: object) -> list[str]:
        """Return the arguments of ``metakd benchmark`` of the cases in ``in``, into ``out``."""
        return strings("benchmark", "--weights", self.sound.weights, "-o", "out", "--jobs", 1, *arguments)

    def study(self, *arguments: object) -> list[str]:
        """Return the arguments of ``metakd study`` of the cases in ``in``, into ``out``."""
        return strings("study", "--cases", "in", "--weights", self.sound.weights, "-o", "out", *arguments)


Prepare = Callable[[Place], Plan]
Inputs = Iterator[tuple[str, Prepare]]  # what a family yields: a recipe in words, and the function that makes it
Family = Callable[[np.random.Generator], Inputs]


@dataclass(frozen=True)
class Trial:
    """One input of a family, made again by its family, its number and the seed."""

    family: str
    number: int
    name: str
    prepare: Prepare
    seed: int

    def rng(self) -> np.random.Generator:
        """Return the draws of this trial."""
        return np.random.default_rng([self.seed, zlib.crc32(self.family.encode()), self.number])


def shuffled(rng: np.random.Generator, inputs: Iterable[tuple[str, Prepare]]) -> Inputs:
    """Yield inputs in a random order, so that the first of them are a fair sample."""
    listed = list(inputs)
    for index in rng.permutation(len(listed)):
        yield listed[index]


def strings(*arguments: object) -> list[str]:
    """Return arguments as a command line has them."""
    return [str(argument) for argument in arguments]


def nifti(voxels: np.ndarray, affine: np.ndarray) -> bytes:
    """Return the bytes of an uncompressed NIfTI-1 file whose qform and sform are the affine."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    content: bytes = image.to_bytes()
    return content


def pack(content: bytes) -> bytes:
    """Compress quickly, the same bytes each time."""
    return gzip.compress(content, 1, mtime=0)


def save(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Write a NIfTI file, compressed where its name says so."""
    content = nifti(voxels, affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(content) if path.name.endswith("gz") else content)
    return path
