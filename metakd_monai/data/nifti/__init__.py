"""NIfTI files: check headers first, read streams to their end, write masks on the grid of an image."""

from metakd_monai.data.nifti.formats import describe_file
from metakd_monai.data.nifti.grid import check_grid, is_on_grid, region_ml, voxel_ml
from metakd_monai.data.nifti.header import AXES, NiftiFile, read_nifti
from metakd_monai.data.nifti.sequence_files import (
    Sequences,
    at_once,
    read_ahead,
    read_label_of,
    read_sequences,
    split_channels,
    verify_sequences,
)
from metakd_monai.data.nifti.values import check_image, check_labels, clear_background
from metakd_monai.data.nifti.voxels import read_labels, read_voxels, write_like, write_volume

__all__ = [
    "AXES",
    "NiftiFile",
    "Sequences",
    "at_once",
    "check_grid",
    "check_image",
    "check_labels",
    "clear_background",
    "describe_file",
    "is_on_grid",
    "read_ahead",
    "read_label_of",
    "read_labels",
    "read_nifti",
    "read_sequences",
    "read_voxels",
    "region_ml",
    "split_channels",
    "verify_sequences",
    "voxel_ml",
    "write_like",
    "write_volume",
]
