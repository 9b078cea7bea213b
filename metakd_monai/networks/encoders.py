"""Encoders of whole samples: from an image, a sound or a vector to one feature vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

from monai.networks.blocks import ADN
from monai.networks.layers import Conv, Pool
from torch import Tensor, nn


class ConvEncoder(nn.Module):
    """Convolutions, each followed by pooling and batch norm, and one fully connected layer.

    With its defaults and no padding this is LeNet's encoder. Sec. 8: "a sequence of convolutional layers and fully
    connected layers along with batch normalization and dropout".

    Args:
        size: spatial size of the input, ``(*S)``; its length is the number of spatial dimensions.
        channels: widths of the convolutions; each halves the size (rounded down).
        kernel_size: of the convolutions; odd.
        features: length C of the feature vector.
        padding: of the convolutions at each end; None keeps the size.
        dropout: probability of dropping a pooled value before the fully connected layer.
        normalize_input: start with batch norm, for inputs of arbitrary scale.
        normalize_rows: normalise each row (position along the first spatial axis) separately, for rows of different
            scales, such as cepstral coefficients.

    Raises:
        ValueError: if the size is too small for the pooling layers.
    """

    def __init__(
        self,
        size: Sequence[int],
        channels: Sequence[int] = (6, 16),
        kernel_size: int = 5,
        features: int = 160,
        padding: int | None = None,
        dropout: float = 0.0,
        normalize_input: bool = False,
        normalize_rows: bool = False,
    ) -> None:
        super().__init__()
        dims = len(size)
        around = kernel_size // 2 if padding is None else padding
        left = list(size)
        for _ in channels:
            left = [(length + 2 * around - kernel_size + 1) // 2 for length in left]
        if min(left) < 1:
            raise ValueError(f"size is too small for {len(channels)} poolings, got {tuple(size)!r}.")
        layers: list[nn.Module] = []
        for before, width in zip([1, *channels], channels, strict=False):
            layers.append(Conv[Conv.CONV, dims](before, width, kernel_size, padding=around))
            layers.append(Pool[Pool.AVG, dims](2))
            layers.append(ADN("NA", width, act="relu", norm="batch", norm_dim=dims))
        norm = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}[dims]
        self.norm = norm(size[0] if normalize_rows else 1) if normalize_input else nn.Identity()
        self.normalize_rows = normalize_rows
        self.layers = nn.Sequential(*layers)
        self.project = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels[-1] * math.prod(left), features), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(P, C)`` of ``(P, 1, *S)``."""
        normalized = self.norm(x.transpose(1, 2)).transpose(1, 2) if self.normalize_rows else self.norm(x)
        encoded: Tensor = self.project(self.layers(normalized))
        return encoded


class VectorEncoder(nn.Module):
    """Two fully connected layers for a row of a table.

    Args:
        length: of the rows, L.
        features: length C of the feature vector.
        hidden: width between the layers.
        dropout: probability of dropping a hidden value.
    """

    def __init__(self, length: int, features: int = 64, hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(length, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, features), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features ``(P, C)`` of ``(P, L)``."""
        encoded: Tensor = self.layers(x)
        return encoded
