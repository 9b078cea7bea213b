"""What an exported file says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from metakd_monai import __version__

ORIGIN = "metakd_export"  # name of the note in a file


@dataclass(frozen=True)
class Origin:
    """Where an exported network comes from, and what one must know to run it.

    Attributes:
        weights_sha256: of the weights that were exported.
        bytes_per_voxel: see :meth:`~metakd_monai.networks.MetaKDUNet.bytes_per_voxel`.
        stride: each axis of an image is a multiple of it, in graph formats.
        version: of this package.
    """

    weights_sha256: str
    bytes_per_voxel: float
    stride: int
    version: str = __version__
