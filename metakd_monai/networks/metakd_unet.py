"""MetaKDUNet: one encoder for all modalities, Eq. (2) at every scale, a fused decoder."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from metakd_monai.equations import filling_matrix
from metakd_monai.networks.architecture import check_arguments, infer_architecture, refuse_other_weights
from metakd_monai.networks.availability import check_input, settle_available
from metakd_monai.networks.fusion import FusionBlock, join, place_rows, pointwise, scatter_rows
from metakd_monai.networks.geometry import average, crop, interpolate, pad_to_multiple, resize
from metakd_monai.networks.norm import VOLUME_NORM
from metakd_monai.networks.segmentation_network import SegmentationNetwork
from metakd_monai.networks.unet_parts import OwnEncoders, estimate_bytes, make_decoder, make_encoder, make_heads


class MetaKDUNet(SegmentationNetwork):
    """U-Net whose encoder sees one modality at a time and whose decoder sees all of them, Eq. (1) to (3).

    The encoder runs on the present modalities only. At every scale that the decoder reads, an absent modality gets the
    mean feature of the present ones, so the values of its channel never reach the output. Filling, weighting and fusion
    are linear and done in one step (:func:`~metakd_monai.networks.fusion.fuse_rows`), so time grows with the number of
    present modalities. Evaluation on a CPU fuses them one by one, so memory does not grow.

    Args:
        spatial_dims: 2 or 3.
        in_channels: number of modalities N; each is one input channel.
        out_channels: number of regions.
        channels: width at each scale; every scale but the first halves the size with a strided convolution. The
            first is narrow: full size costs most, and the decoder reads every modality there.
        norm: MONAI norm name and arguments; "volume" is instance norm.
        deep_supervision: in training, return logits of the coarser scales too, as MONAI's DynUNet does.
        input_stride: k, for weights trained on voxels k times as long as those of the images: each modality is averaged
            over k voxels along every axis before the encoder, and the logits are interpolated back linearly. A value
            above 1 is stored in the state dict as ``input_stride``, because no shape reveals it.
        modality_specific_scales: number of scales, from the finest, at which each modality has its own encoder; in the
            paper all scales share one encoder (0). Neither time nor the number of features changes.
        window: size in voxels of the sliding window for the weights, usually the crop size of their training, because
            instance norm depends on it; None for the brain's whole bounding box. It is stored in the state dict.

    Raises:
        ValueError: for other spatial_dims, fewer than two scales, an input_stride below 1, modality_specific_scales
            below 0 or equal to their number, or an invalid window.

    Source: Sec. 3.1 of the paper; the blocks are nnU-Net's, as in MONAI's DynUNet.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 4,
        out_channels: int = 3,
        channels: Sequence[int] = (8, 32, 64, 128, 256),
        norm: tuple | str = (VOLUME_NORM, {"affine": True, "inplace": True}),
        deep_supervision: bool = False,
        input_stride: int = 1,
        modality_specific_scales: int = 0,
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_arguments(spatial_dims, channels, input_stride, modality_specific_scales)
        self.in_channels, self.out_channels, self.channels = in_channels, out_channels, tuple(channels)
        self.deep_supervision, self.pooling = deep_supervision, input_stride
        self.factor = input_stride * 2 ** (len(channels) - 1)  # image voxels per bottleneck voxel, along each axis
        if input_stride > 1:
            self.register_buffer("input_stride", torch.tensor(input_stride))
        self.set_window(window)
        self.modality_specific_scales = modality_specific_scales
        own = range(modality_specific_scales)
        self.own: Any = OwnEncoders(make_encoder(spatial_dims, channels, own, norm) for _ in range(in_channels) if own)
        shared = range(modality_specific_scales, len(channels))
        self.encoder = make_encoder(spatial_dims, channels, shared, norm)
        self.fusion = nn.ModuleList(FusionBlock(spatial_dims, in_channels, width, norm) for width in channels)
        self.decoder = make_decoder(spatial_dims, channels, norm)
        self.heads = make_heads(spatial_dims, channels, out_channels, deep_supervision)
        self.batch_norm = any(isinstance(module, _BatchNorm) for module in self.modules())
        self.register_load_state_dict_post_hook(refuse_other_weights)

    @torch.jit.unused
    def describe(self) -> dict[str, Any]:
        """Return the arguments that build a network for these weights, ready for JSON."""
        return {**infer_architecture(self.state_dict()), "channels": list(self.channels)}

    @torch.jit.unused
    def last_layers(self) -> list[nn.Module]:
        """Return the convolutions that make the logits, one for each scale that has a head."""
        return [head.get_submodule("conv") for head in self.heads]

    @torch.jit.unused
    def blocks(self) -> list[nn.Module]:
        """Return the blocks of encoders and decoder."""
        return [*chain.from_iterable(self.own), *self.encoder, *self.decoder]

    def encode(self, x: Tensor, available: Tensor) -> list[list[Tensor]]:
        """Encode the present modalities, Eq. (1).

        Args:
            x: images, ``(B, N, *S)``; any spatial size (zeros are padded to a multiple of the network's stride).
            available: ``(B, N)`` bool.

        Returns:
            For each scale, finest first, the features ``(1, C, *S)`` of each present modality, sample after sample
            (:func:`~metakd_monai.networks.fusion.scatter_rows` makes one tensor of them).

        Raises:
            ValueError: if x has a different number of channels, or if no modality is present.
        """
        check_input(x, available, self.in_channels)
        index = available.flatten().nonzero().squeeze(1)  # (P,) of B*N
        present = x.flatten(0, 1).index_select(0, index).unsqueeze(1)  # (P, 1, *S)
        # A CPU is faster one by one: PyTorch's instance norm copies several channels-last volumes.
        together = (self.training and self.batch_norm) or x.device != torch.device("cpu")
        which = index % self.in_channels
        features: list[list[Tensor]] = [[] for _ in self.channels]
        rows = len(which) if together else 1
        for part, modalities in zip(present.split(rows), which.split(rows)):  # noqa: B905  # TorchScript has no strict
            for scale, encoded in enumerate(self.encode_rows(part, modalities)):
                features[scale].extend(encoded.split(1))
        return features

    def encode_rows(self, x: Tensor, modalities: Tensor) -> list[Tensor]:
        """Encode images ``(P, 1, *S)`` of given modalities ``(P,)``; for each scale ``(P, C, *S)``."""
        part = average(pad_to_multiple(x, self.factor), self.pooling)
        recomputed = self.training and not self.batch_norm  # which would count each batch twice
        if self.modality_specific_scales == 0:
            features: list[Tensor] = self.encoder(part, recomputed)
            return features
        own: list[Tensor] = self.own(part, modalities, recomputed)
        return own + self.encoder(own[-1])

    def encode_fused(self, x: Tensor, available: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Encode one modality after the other, Eq. (1), and fuse its features immediately, which saves memory.

        Arguments and errors are those of :meth:`encode`.

        Returns:
            For each scale the fused features ``(B, C, *S)``, Eq. (2) and (3); the bottleneck's rows.
        """
        check_input(x, available, self.in_channels)
        filling = filling_matrix(available)
        kernels = [fuse.kernels(filling) for fuse in self.fusion]
        sums: list[list[Tensor]] = [[] for _ in self.channels]
        bottleneck: list[Tensor] = []
        places: list[list[int]] = available.nonzero().tolist()
        for place in places:
            b, n = place[0], place[1]
            features = self.encode_rows(x[b : b + 1, n : n + 1], torch.tensor([n]))
            for scale, part in enumerate(features):
                term = pointwise(part, kernels[scale][b, n])
                if len(sums[scale]) == b:
                    sums[scale].append(term)
                else:
                    sums[scale][b].add_(term)
            bottleneck.append(features[-1])
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            fused.append(fuse.finish(join(sums[scale])))
        return fused, bottleneck

    def decode(
        self,
        features: list[list[Tensor]],
        available: Tensor,
        importance: Tensor | None = None,
        size: list[int] | None = None,
        encoded: Tensor | None = None,
    ) -> Tensor:
        """Fill, Eq. (2), weight if asked, Eq. (4), concatenate and decode, Eq. (3).

        Args:
            features: what :meth:`encode` returned.
            available: ``(B, N)`` bool.
            importance: normalised importance ``(N,)``, for the upper problem of Eq. (4) only.
            size: spatial size to crop the padded result to.
            encoded: ``(B, N)`` bool, the encoded modalities, if more than the available ones.

        Returns:
            Logits ``(B, R, *S)``; with deep supervision in training ``(B, heads, R, *S)``, finest first.
        """
        filling = filling_matrix(available, importance)
        places = place_rows(available if encoded is None else encoded, available)
        fused: list[Tensor] = []
        for scale, fuse in enumerate(self.fusion):
            fused.append(fuse(features[scale], places, filling))
        return self.decode_fused(fused, size)

    def decode_fused(self, fused: list[Tensor], size: list[int] | None = None) -> Tensor:
        """Decode the fused features of each scale, finest first; see :meth:`decode`."""
        out = fused[-1]
        outputs: list[Tensor] = []
        for step, up in enumerate(self.decoder):
            out = up(out, fused[len(fused) - 2 - step])
            outputs.insert(0, out)
        logits: list[Tensor] = []
        for scale, head in enumerate(self.heads):
            if scale == 0 or self.training:
                at_input = resize(head(outputs[scale]), list(outputs[0].shape[2:]))
                logits.append(interpolate(at_input, self.pooling))
        if self.deep_supervision and self.training:
            return torch.stack([crop(one, size) for one in logits], dim=1)
        return crop(logits[0], size)

    def forward_features(self, x: Tensor, available: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Segment, and return what distillation needs.

        Args:
            x: images, ``(B, N, *S)``.
            available: ``(B, N)`` or one row for all, ``(1, N)``; see :func:`settle_available`.

        Returns:
            Logits (see :meth:`decode`), bottleneck features ``(B, N, C, *S)``, availability ``(B, N)``.
        """
        mask = settle_available(x, available)
        size = list(x.shape[2:])
        if self.training or x.device != torch.device("cpu"):
            features = self.encode(x, mask)
            return self.decode(features, mask, None, size), scatter_rows(features[-1], mask), mask
        fused, bottleneck = self.encode_fused(x, mask)
        return self.decode_fused(fused, size), scatter_rows(bottleneck, mask), mask

    @torch.jit.unused
    def forward_weighted(self, x: Tensor, available: Tensor, importance: Tensor) -> tuple[Tensor, Tensor]:
        """Segment as in the upper problem of Eq. (4): the encoder is held constant, its features are weighted.

        Args:
            x: images, ``(B, N, *S)``.
            available: ``(B, N)`` bool.
            importance: normalised importance ``(N,)``.

        Returns:
            Logits (see :meth:`decode`), and bottleneck features ``(B, N, C, *S)``, which get no gradient.
        """
        with torch.no_grad():
            features = self.encode(x, available)
        return self.decode(features, available, importance, list(x.shape[2:])), scatter_rows(features[-1], available)

    def forward(self, x: Tensor, available: Tensor | None = None) -> Tensor:
        """Return logits ``(B, R, *S)`` for images ``(B, N, *S)``; arguments as in :meth:`forward_features`."""
        return self.forward_features(x, available)[0]

    @torch.jit.export
    def bytes_per_voxel(self) -> float:
        """Estimate the memory in fp32 that prediction on a CPU needs for each voxel of a window."""
        return estimate_bytes(list(self.channels), self.in_channels, self.out_channels, self.pooling)
