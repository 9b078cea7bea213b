"""The base of the networks of other methods: sizes, absent modalities, auxiliary losses, a note in the weights."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from metakd_monai.equations import spread
from metakd_monai.errors import UserError
from metakd_monai.networks.architecture import refuse_other_keys
from metakd_monai.networks.availability import check_input, settle_available
from metakd_monai.networks.geometry import average, crop, interpolate, pad_to_multiple
from metakd_monai.networks.segmentation_network import SegmentationNetwork

ARCHITECTURE = "architecture"  # key in the state dict: JSON, one byte per number
LONGEST, LARGEST = 1000, 4096  # bytes of the JSON; the largest number in it


class Extra(NamedTuple):
    """A training output beside the prediction.

    Attributes:
        name: selects its weight.
        value: a loss, or logits ``(P, R, *S)`` to which the task loss is applied.
        rows: index in the batch of each of P logits, ``(P,)``; None for a loss.
    """

    name: str
    value: Tensor
    rows: Tensor | None = None


class BaselineNetwork(SegmentationNetwork):
    """A network that MetaKD is compared with.

    Absent modalities are set to zero first (``available`` decides, never their voxels), images of any size are padded
    with zeros, and the state dict names the network. A subclass has ``encoders`` or
    :meth:`encode_images`, ``head`` or :meth:`last_layers`, and :meth:`segment`; for its auxiliary losses
    :meth:`learn_encoded` and :meth:`learn`.

    Args:
        in_channels: number of modalities N; each is one input channel.
        out_channels: number of regions.
        channels: width at each scale, finest first.
        factor: image voxels per bottleneck voxel, along each axis.
        input_stride: as in :class:`~metakd_monai.networks.MetaKDUNet`.
        window: likewise.
        arguments: further arguments of the subclass that determine the network.

    Raises:
        ValueError: for fewer than three scales, an input_stride below 1, or an invalid window.
    """

    if TYPE_CHECKING:  # set by subclasses, unless they override the methods that use them
        encoders: Any
        head: Any

    auxiliary_of_all = False  # in (B, 2, N) the first subset is for auxiliary losses alone
    deepest: int | None = -1  # which of the encoded features MetaKD would distil; None: a modality has none of its own

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        factor: int,
        input_stride: int,
        window: Sequence[int] | None,
        **arguments: Any,
    ) -> None:
        super().__init__()
        if len(channels) < 3:
            raise ValueError(f"channels must name at least three scales, got {tuple(channels)!r}.")
        if input_stride < 1:
            raise ValueError(f"input_stride must be 1 or more, got {input_stride!r}.")
        self.in_channels, self.out_channels, self.channels = in_channels, out_channels, tuple(channels)
        self.factor, self.pooling = factor * input_stride, input_stride
        self.streams = in_channels  # sets of features kept in memory, for the memory estimate
        self.arguments = {
            **{"in_channels": in_channels, "out_channels": out_channels, "channels": list(channels)},
            **{"input_stride": input_stride, **arguments},
        }
        text = json.dumps({"network": type(self).__name__, **self.arguments}).encode()
        self.register_buffer(ARCHITECTURE, torch.tensor(list(text), dtype=torch.uint8))
        self.set_window(window)
        self.register_load_state_dict_pre_hook(refuse_other_architecture)
        self.register_load_state_dict_post_hook(refuse_other_keys)

    def prepare(self, x: Tensor, available: Tensor) -> Tensor:
        """Return images ``(B, N, *S)`` padded and at the network's stride, with zeros where a modality is absent."""
        check_input(x, available, self.in_channels)
        return average(pad_to_multiple(keep(x, available), self.factor), self.pooling)

    def encode_images(self, images: Tensor, available: Tensor) -> list[Tensor]:
        """Encode prepared images ``(B, N, *S)`` into what :meth:`segment` reads, each ``(B, N, C, *S)``.

        By default each modality separately, by ``encoders`` (:mod:`~metakd_monai.networks.methods.modality_encoders`).
        """
        encoded: list[Tensor] = self.encoders.each(images, available)
        return encoded

    def segment(self, features: list[Tensor], available: Tensor) -> Tensor:
        """Return logits ``(B, R, *S)`` of the size of prepared images, from a subset of the encoded modalities."""
        raise NotImplementedError

    @torch.jit.unused
    def learn_encoded(self, images: Tensor, features: list[Tensor], every: Tensor) -> list[Extra]:
        """Return auxiliary losses that do not depend on the subset, from all encoded modalities, ``(B, N)`` bool."""
        return []

    @torch.jit.unused
    def learn(
        self, images: Tensor, features: list[Tensor], available: Tensor, every: Tensor
    ) -> tuple[Tensor, list[Extra]]:
        """Return :meth:`segment`'s logits, and auxiliary losses of this subset of the encoded modalities."""
        return self.segment(features, available), []

    def encode(self, x: Tensor, available: Tensor) -> list[Tensor]:
        """Encode images ``(B, N, *S)`` of any size; see :meth:`encode_images`.

        Raises:
            ValueError: if x has a different number of channels, or if no modality is present.
        """
        return self.encode_images(self.prepare(x, available), available)

    def decode(
        self,
        features: list[Tensor],
        available: Tensor,
        importance: Tensor | None = None,
        size: list[int] | None = None,
        encoded: Tensor | None = None,
    ) -> Tensor:
        """Return logits ``(B, R, *S)``; arguments as for MetaKDUNet, but ``importance`` and ``encoded`` are ignored."""
        return self.finish(self.segment(features, available), size)

    def finish(self, logits: Tensor, size: list[int] | None) -> Tensor:
        """Interpolate and crop logits ``(B, R, *S)`` of prepared images to the size of the images."""
        return crop(interpolate(logits, self.pooling), size)

    def forward(self, x: Tensor, available: Tensor | None = None) -> Tensor:
        """Return logits ``(B, R, *S)``.

        Args:
            x: images, ``(B, N, *S)``.
            available: ``(B, N)`` or one row for all, ``(1, N)``; see :func:`settle_available`.
        """
        mask = settle_available(x, available)
        return self.decode(self.encode(x, mask), mask, None, list(x.shape[2:]))

    @torch.jit.unused
    def forward_features(self, x: Tensor, available: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Extra]]:
        """Segment in training.

        Args:
            x: images, ``(B, N, *S)``.
            available: ``(B, N)``, or K subsets per sample, ``(B, K, N)``; each modality is encoded once.

        Returns:
            Logits of ``K * B`` samples, first subsets before second ones; the deepest features, ``(B, N, C, *S)``, or
            0 if there are none; which modalities were encoded, ``(B, N)``; and the extras for auxiliary losses.
        """
        subsets = available.to(device=x.device, dtype=torch.bool)
        subsets = subsets.unsqueeze(1) if subsets.dim() == 2 else subsets
        every, size = subsets.any(1), list(x.shape[2:])
        images = self.prepare(x, every)
        features = self.encode_images(images, every)
        extras = self.learn_encoded(images, features, every)
        found: list[Tensor] = []
        for one in subsets.unbind(1)[int(self.auxiliary_of_all and subsets.shape[1] > 1) :]:
            logits, more = self.learn(images, features, one, every)
            found.append(self.finish(logits, size))
            extras += more
        finished = [e if e.rows is None else e._replace(value=self.finish(e.value, size)) for e in extras]
        known = x.new_zeros(()) if self.deepest is None else features[self.deepest]
        return torch.cat(found), known, every, finished

    @torch.jit.unused
    def forward_weighted(self, x: Tensor, available: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Segment as in the upper problem of Eq. (4); see :meth:`MetaKDUNet.forward_weighted`.

        Raises:
            UserError: if modalities have no features of their own.
        """
        if self.deepest is None:
            raise UserError(f"{type(self).__name__}: no features of single modalities, so MetaKD cannot weight them")
        with torch.no_grad():
            features = self.encode(x, available)
        weighted = [part * importance[:, None, None, None, None] for part in features]
        return self.decode(weighted, available, None, list(x.shape[2:])), features[self.deepest]

    @torch.jit.unused
    def forward_subsets(self, x: Tensor, available: Tensor) -> tuple[Any, ...]:
        """Segment from K subsets ``(B, K, N)`` of each image, as :meth:`forward_features` does."""
        return self.forward_features(x, available)

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolution that makes the logits, by default ``head``."""
        return [self.head]

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the arguments for building a network for these weights, ready for JSON."""
        return {**self.arguments, "window": self.window}

    @torch.jit.export
    def bytes_per_voxel(self) -> float:
        """Estimate the memory in fp32 that prediction on a CPU needs for each voxel of a window."""
        every_scale = 0.0
        for scale, width in enumerate(self.channels):
            every_scale += width / 8**scale
        kept = (self.streams + 2) * every_scale  # features of every modality and of the decoder
        passing = 5 * self.channels[0] * self.streams  # concatenations at full size
        return 4 * ((kept + passing) / self.pooling**3 + 2 * self.in_channels + 2 * self.out_channels)


def keep(features: Tensor, available: Tensor) -> Tensor:
    """Return ``(B, N, ...)`` with zeros where ``available``, ``(B, N)``, is False."""
    return torch.where(spread(available, features), features, torch.zeros_like(features))


def refuse_other_architecture(network: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Refuse weights of another network or of other arguments before they are loaded; raises RuntimeError."""
    found, mine = read_note(state.get(f"{prefix}{ARCHITECTURE}")), read_note(network.get_buffer(ARCHITECTURE))
    if found != mine:
        raise RuntimeError(f"found weights of {found or 'another network'}; expected those of {mine}")


def read_note(note: Tensor | None) -> dict[str, Any]:
    """Return the description of the network in a state dict; empty if there is no valid one.

    Numbers, lists of numbers and names are accepted, up to sizes that networks have.
    """
    if note is None or note.dim() != 1 or len(note) > LONGEST:
        return {}
    try:
        told = json.loads(bytes(int(number) for number in note.tolist()))
    except (ValueError, OverflowError, RecursionError):
        return {}
    if not isinstance(told, dict):
        return {}
    numbers = [value for item in told.values() for value in (item if isinstance(item, list) else [item])]
    sound = all(isinstance(value, str) or (isinstance(value, int) and 0 <= value <= LARGEST) for value in numbers)
    return told if sound else {}
