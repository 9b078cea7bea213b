"""First and last operator: from a folder to an image, and from a mask to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from dicom import write_segmentation
from monai.deploy.core import Image, Operator
from study import Study, read_study

from metakd_monai.files import check_writable, write_safely
from metakd_monai.nifti import write_like
from metakd_monai.transforms import labels_to_regions


class StudyReaderOperator(Operator):
    """Read a study; emit ``image``, one channel for each sequence, zeros for absent ones, and ``study``."""

    def __init__(self, fragment: Any, *args: Any, source: Path, **kwargs: Any) -> None:
        self.source = source
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the outputs."""
        spec.output("image")
        spec.output("study")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Read and emit."""
        study = read_study(self.source)
        affine = study.affine.numpy()
        stack = study.stack().numpy()  # (*S, N)
        meta = {
            "original_channel_dim": -1,
            "original_affine": affine,
            "affine": affine.copy(),
            "spacing": np.linalg.norm(affine[:3, :3], axis=0),
            "spatial_shape": np.asarray(stack.shape[:3]),
        }
        op_output.emit(Image(stack, metadata=meta), "image")
        op_output.emit(study, "study")


class MaskWriterOperator(Operator):
    """Write the mask as NIfTI, and for a study from DICOM as DICOM SEG too."""

    def __init__(self, fragment: Any, *args: Any, output: Path, **kwargs: Any) -> None:
        self.output = output
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the inputs."""
        spec.input("pred")
        spec.input("study")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write."""
        labels = np.swapaxes(op_input.receive("pred").asnumpy(), 0, 2)  # an Image holds depth, height, width
        write_mask(self.output, op_input.receive("study"), np.ascontiguousarray(labels))


def write_mask(output: Path, study: Study, labels: np.ndarray) -> None:
    """Write ``<case>.nii.gz`` and, for DICOM, ``<case>.dcm``.

    Args:
        output: folder.
        study: whose grid it is.
        labels: ``(*S)`` uint8.
    """
    check_writable(output)
    mask = output / f"{study.case_id}.nii.gz"
    if study.reference is not None:
        write_like(mask, labels, study.reference)
        return
    # Slices, rows, columns as in the series; NIfTI readers are used to columns, rows, slices.
    turned = nib.Nifti1Image(labels.transpose(2, 1, 0), study.affine.numpy()[:, [2, 1, 0, 3]])
    write_safely(mask, lambda path: nib.save(turned, path))
    regions = labels_to_regions(torch.from_numpy(labels)[None]).numpy()
    write_segmentation(output / f"{study.case_id}.dcm", regions, study.series)
