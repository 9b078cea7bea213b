"""The sound inputs that bad ones are made of, and what the commands make of them: the references."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path

import nibabel as nib
import numpy as np

SEQUENCES = ("flair", "t1", "t1ce", "t2")
CASES = ("c1", "c2", "c3", "c4", "c5")
SHAPE, SPACING = (32, 40, 32), 4.0
CHANNELS = (4, 8, 16)
Run = Callable[[list[str], Path], int]  # arguments of metakd and a working folder, to an exit status


class Sound:
    """Simulated cases, weights of a small network whose masks hold every label, and references made when asked for.

    Args:
        folder: to write to.
        run: the command line.
        seed: of the cases.
    """

    def __init__(self, folder: Path, run: Run, seed: int) -> None:
        self.folder, self.run, self.seed = folder, run, seed
        self.weights = folder / "model.pt"
        self.file = cache(self._file)
        self.voxels = cache(self._voxels)

    def prepare(self) -> None:
        """Write the cases, the weights and the masks of all sequences."""
        from campaign.networks import write_weights

        self.make("simulate", "simulated", "--cases", len(CASES), "--seed", self.seed)
        write_weights(self.weights, self.folder / "simulated" / "Simulated_000")
        for case in CASES[:3]:
            self.mask(case)

    @cached_property
    def affine(self) -> np.ndarray:
        """The affine of every sound file."""
        found: np.ndarray = nib.load(self.file("c1", "seg")).affine
        return found

    def make(self, *arguments: object) -> None:
        """Run a command that must succeed, in the folder of references."""
        shape = ["--shape", ",".join(map(str, SHAPE)), "--spacing", SPACING] if arguments[0] == "simulate" else []
        given = [str(argument) for argument in (*arguments, *shape)]
        status = self.run(given, self.folder)
        if status:
            raise RuntimeError(f"sound inputs: metakd {' '.join(given)} ended with {status}")

    def _file(self, case: str, name: str) -> Path:
        """Return where a sequence (or ``seg``) of a sound case lies."""
        simulated = f"Simulated_{CASES.index(case):03d}"
        return self.folder / "simulated" / simulated / f"{simulated}_{name}.nii.gz"

    def _voxels(self, case: str, name: str) -> np.ndarray:
        """Return the voxels of a sequence (or ``seg``), int16."""
        return np.asarray(nib.load(self.file(case, name)).dataobj)

    def mask(self, case: str = "c1", sequences: Iterable[str] = SEQUENCES) -> Path:
        """Return the mask that the small weights make of a case with these sequences."""
        used = ",".join(name for name in SEQUENCES if name in set(sequences))
        place = self.folder / "masks" / used
        source = self.file(case, "flair").parent
        found = place / f"{source.name}.nii.gz"
        if not found.exists():
            quiet = ("--no-preview", "--modalities", used)
            self.make("predict", source, "-o", place, "--weights", self.weights, *quiet)
        return found

    def scores(self, cases: Sequence[str] = CASES[:2]) -> Path:
        """Return the table that evaluate makes of the masks of these cases, named as :class:`~trials.Place` does."""
        folder = self.folder / "evaluated" / "-".join(cases)
        if not (folder / "scores.csv").exists():
            for case in cases:
                copy(self.mask(case), folder / "pred" / f"{case}.nii.gz")
                copy(self.file(case, "seg"), folder / "in" / case / f"{case}_seg.nii.gz")
            self.make("evaluate", folder / "pred", folder / "in", "-o", folder / "scores.csv", "--jobs", 1)
        return folder / "scores.csv"

    def adni(self) -> Path:
        """Return a small simulated cohort as ADNI's downloads look."""
        raw, new = self.folder / "adni", self.folder / f"adni.{os.getpid()}"
        if not raw.exists():
            self.make("adni-simulate", new, "--subjects", 60)
            with contextlib.suppress(OSError):  # another trial was first
                new.rename(raw)
        return raw

    def export(self, end: str) -> Path:
        """Return the small network exported: ``.ts``, ``.onnx`` or ``.pt2``."""
        kind = {".ts": "torchscript", ".onnx": "onnx", ".pt2": "torch-export"}[end]
        path = self.weights.with_suffix(end)
        if not path.exists():
            self.make("export", "--format", kind, "--weights", self.weights, "-o", path)
        return path


def copy(source: Path, target: Path) -> None:
    """Copy a file into a folder that need not be there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
