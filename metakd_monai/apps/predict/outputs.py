"""The output files of a case: their names, whether they are done, and how they are written."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from metakd_monai.apps.predict.predictor import Settings, to_volume
from metakd_monai.data.cases import Case
from metakd_monai.data.files import read_record
from metakd_monai.data.nifti import read_nifti, write_like
from metakd_monai.data.temporaries import is_unfinished
from metakd_monai.errors import UserError
from metakd_monai.transforms import REFERENCE
from metakd_monai.vocabulary import WORKING_AXES

SUBSETS = "subsets.json"  # of the masks that subsets of the sequences give; written last, in their folder


@dataclass(frozen=True)
class Outputs:
    """Which files to write beside the mask, and whether to replace those made with other settings."""

    directory: Path
    preview: bool = True
    probabilities: bool = False
    overwrite: bool = False
    uncertainty: bool = False
    subsets: bool = False

    def files(self, case_id: str) -> list[Path]:
        """Return all files of a case that may be in the folder."""
        return [*(self.directory / f"{case_id}{end}" for end in (".nii.gz", ".json", ".png")), *self.maps(case_id)]

    def maps(self, case_id: str) -> dict[Path, bool]:
        """Return what may lie beside a case's mask, and whether each is requested: maps, the record of subsets."""
        wanted = {"probabilities": self.probabilities, "uncertainty": self.uncertainty}
        maps = {self.directory / f"{case_id}_{name}.nii.gz": asked for name, asked in wanted.items()}
        return {**maps, self.subset_folder(case_id) / SUBSETS: self.subsets}

    def subset_folder(self, case_id: str) -> Path:
        """Return the folder of the masks that subsets of the sequences give."""
        return self.directory / f"{case_id}_subsets"


def mask_path(outputs: Outputs, case: Case) -> Path:
    """Return where a case's mask goes."""
    return outputs.directory / f"{case.case_id}.nii.gz"


def is_done(mask: Path, report: Path, settings: Settings) -> bool:
    """Tell whether a case has a mask made with these settings.

    Raises:
        UserError: when a mask made with other or unknown settings would be overwritten.
    """
    if not mask.exists():
        return False
    wanted = json.loads(json.dumps(asdict(settings)))
    found = read_record(report).get("settings", {})
    if found != wanted and is_unfinished(mask):
        return False
    if found != wanted:
        differ = [name for name in wanted if found.get(name) != wanted[name]]
        raise UserError(f"{mask}: exists, made with other settings ({', '.join(differ)}); expected --overwrite")
    return True


def write_outputs(
    outputs: Outputs,
    case_id: str,
    item: dict[str, Any],
    logits: torch.Tensor,
    labels: torch.Tensor,
    title: str,
    unsure: torch.Tensor | None = None,
) -> None:
    """Write mask, preview, probabilities and uncertainty; all but the preview on the grid of the input."""
    reference = item["image"].meta[REFERENCE]
    affine = read_nifti(reference).affine
    if outputs.probabilities:
        maps = to_native(to_volume(logits.sigmoid(), item), affine)
        write_like(outputs.directory / f"{case_id}_probabilities.nii.gz", maps, reference)
    if unsure is not None:
        bits = to_native(to_volume(unsure, item), affine)[..., 0]
        write_like(outputs.directory / f"{case_id}_uncertainty.nii.gz", bits, reference)
    if outputs.preview:
        from metakd_monai.apps.predict.preview import draw_preview

        spacing = [float(s) for s in item["image"].pixdim]
        image, map_ = item["image"].numpy(), labels[0].numpy()
        draw_preview(outputs.directory / f"{case_id}.png", image, item["available"].tolist(), map_, spacing, title)
    mask = to_native(to_volume(labels, item), affine)[..., 0]
    write_like(outputs.directory / f"{case_id}.nii.gz", mask, reference)


def to_native(volume: torch.Tensor, affine: np.ndarray) -> np.ndarray:
    """Turn ``(C, *S)`` from the working orientation to that of a file's affine, as ``(*S, C)``; no resampling."""
    back = ornt_transform(axcodes2ornt(WORKING_AXES), io_orientation(affine))
    turned: np.ndarray = apply_orientation(np.moveaxis(volume.numpy(), 0, -1), back)
    return np.ascontiguousarray(turned)
