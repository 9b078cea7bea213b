"""A predictor that notes what it does and loses its process where it is told to; for workers in other processes."""

import os
import signal
from pathlib import Path

from metakd_monai.apps.predict.predictor import Predictor


class Spoilt(Predictor):
    """Kills its process while it segments a case, as the kernel does when memory is short.

    Args:
        notes: folder for a file of each begun and each done segmentation.
        output: where a killed process leaves a half-written file.
        deaths: how many processes each case kills.
    """

    def __init__(self, *arguments, notes: Path, output: Path, deaths: dict[str, int], **options):
        super().__init__(*arguments, **options)
        self.notes, self.output, self.deaths = notes, output, deaths

    def segment(self, item):
        case_id = item["case_id"]
        before = len(list(self.notes.glob(f"{case_id}.begun.*")))
        (self.notes / f"{case_id}.begun.{os.getpid()}").touch()
        if before < self.deaths.get(case_id, 0):
            (self.output / f".{os.getpid()}.{case_id}.nii.gz").write_bytes(b"half a mask")
            os.kill(os.getpid(), signal.SIGKILL)
        probabilities = super().segment(item)
        (self.notes / f"{case_id}.done.{os.getpid()}").touch()
        return probabilities


def count(notes: Path, what: str) -> dict[str, int]:
    """Return how often each case was begun or done."""
    names = [path.name.split(".")[0] for path in notes.glob(f"*.{what}.*")]
    return {name: names.count(name) for name in sorted(names)}


def masks(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each mask in a folder."""
    return {path.name: path.read_bytes() for path in folder.glob("*.nii.gz")}


def everything(folder: Path) -> set[str]:
    """Return the names of all files in a folder, hidden ones too."""
    return {path.name for path in folder.iterdir()}
