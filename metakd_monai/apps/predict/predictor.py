"""From a case on disk to its mask, preview and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Orientationd

from metakd_monai import __version__
from metakd_monai.apps.predict.expectations import read_expectations
from metakd_monai.apps.predict.postprocessing import PLAIN, PostProcessing
from metakd_monai.apps.predict.uncertainty import measure_uncertainty
from metakd_monai.data.cases import Case
from metakd_monai.data.files import checksum
from metakd_monai.data.fingerprint import code_fingerprint
from metakd_monai.errors import find_user_error
from metakd_monai.inferers import ModalityInferer, Window, inside, paste
from metakd_monai.transforms import LoadImageModalitiesd, normalize_nonzero, regions_to_labels
from metakd_monai.vocabulary import MODALITY_NAMES, WORKING_AXES, Label, Modality
from metakd_monai.weights.exports import load_any, settle_precision, weights_checksum


@dataclass(frozen=True)
class Compute:
    """How a mask is computed; see :class:`~metakd_monai.inferers.ModalityInferer`.

    Attributes:
        precision: ``"auto"``, ``"fp32"`` or ``"bf16"``.
        memory_limit: GiB for the process on a CPU.
        margin: voxels kept around the brain's bounding box.
        mirror: ``"none"``, ``"lr"`` or ``"all"``.
        overlap: of sliding windows, if the box needs several.
        window: three lengths in voxels, or ``"whole"`` for the box; None for the window that goes with the weights.
            Never None in the settings of a mask.
    """

    precision: str = "auto"
    memory_limit: float = 3.0
    margin: int = 4
    mirror: str = "none"
    overlap: float = 0.25
    window: Window = None


@dataclass(frozen=True)
class Settings:
    """All that a mask depends on, apart from the case; recorded in its report.

    The code is part of it: see :mod:`metakd_monai.data.fingerprint`.
    """

    weights_sha256: str
    modalities: tuple[str, ...] = MODALITY_NAMES
    et_label: int = int(Label.ET)
    compute: Compute = Compute()
    postprocessing: str = PLAIN
    version: str = __version__
    code_sha256: str = field(default_factory=code_fingerprint)


class Predictor:
    """A network with its weights, ready for any number of cases.

    Args:
        weights: see :func:`~metakd_monai.weights.exports.load_any`.
        device: of the network.
        modalities: use only these sequences of a case.
        et_label: 3 or 4; None to go by each case's name.
        compute: how to compute masks; the device decides ``"auto"`` precision.
        optimize: see :func:`~metakd_monai.weights.load.optimize_network`.
        postprocessing: of the label map, see :class:`~metakd_monai.apps.predict.postprocessing.PostProcessing`.

    Raises:
        UserError: for weights that do not fit, an unknown way to compute, or an unknown rule.
    """

    def __init__(
        self,
        weights: str | Path,
        device: str | torch.device = "cpu",
        modalities: Sequence[Modality] = tuple(Modality),
        et_label: int | None = None,
        compute: Compute | None = None,
        optimize: str = "auto",
        postprocessing: str = PLAIN,
    ) -> None:
        asked = PostProcessing.asked(postprocessing)
        self.weights, self.device, self.et_label = Path(weights), torch.device(device), et_label
        given = compute or Compute()
        self.network = load_any(weights, device, optimize)
        settled = replace(given, precision=settle_precision(self.network, given.precision, self.device))
        how = {name: value for name, value in asdict(settled).items() if name != "window"}
        self.inferer = ModalityInferer(settled.window, mode="gaussian", **how)
        settled = replace(settled, window=self.inferer.window_for(self.network))
        self.expectations = read_expectations(weights, weights_checksum(self.network, weights))
        self.postprocessing = asked or self.expectations.postprocessing
        self.settings = Settings(
            checksum(weights),
            tuple(m.value for m in modalities),
            compute=settled,
            postprocessing=str(self.postprocessing),
        )
        limit = settled.memory_limit if self.device.type == "cpu" else None  # of the process, on a CPU
        self.load = Compose(
            [
                LoadImageModalitiesd(modalities=modalities, memory_limit=limit, log=False),
                Orientationd(keys="image", axcodes=WORKING_AXES, labels=None),
            ]
        )

    def settings_for(self, case: Case) -> Settings:
        """Return the settings that hold for one case."""
        return replace(self.settings, et_label=case.et_label if self.et_label is None else self.et_label)

    def read(self, case: Case) -> dict[str, Any]:
        """Read a case, crop it to the brain's bounding box and normalise it.

        Returns:
            ``image`` ``(N, *box)``, axes towards left, posterior, superior; ``available`` ``(N,)``; ``box``, slices of
            the volume; ``size`` of the volume.
        """
        try:
            item: dict[str, Any] = self.load(case.as_item())
        except RuntimeError as error:  # MONAI's Compose wraps the transform's error
            known = find_user_error(error)
            if known is None:
                raise
            raise known from error
        image, available = item["image"], item["available"]
        box = self.inferer.foreground(image.as_tensor()[None], available[None])
        brain = normalize_nonzero(image.as_tensor()[inside(box)[1:]])
        return {**item, "image": MetaTensor(brain, meta=image.meta), "box": box, "size": tuple(image.shape[1:])}

    def segment(self, item: dict[str, Any]) -> torch.Tensor:
        """Return the logits of ET, TC and WT in the brain's bounding box, ``(R, *box)`` float32."""
        with torch.inference_mode():
            image = item["image"].as_tensor()[None].to(self.device)
            mask = item["available"][None].to(self.device)
            return self.inferer.infer_box(image, self.network, mask, item["size"])[0].cpu()

    def label(self, item: Mapping[str, Any], logits: torch.Tensor, et_label: int) -> torch.Tensor:
        """Return the label map of logits ``(R, *box)``, post-processed in the whole volume, ``(1, *box)`` uint8."""
        return self.clean(item, regions_to_labels(logits > 0, et_label), et_label)

    def clean(self, item: Mapping[str, Any], labels: torch.Tensor, et_label: int) -> torch.Tensor:
        """Return a label map ``(1, *box)`` post-processed in the whole volume."""
        volume = self.postprocessing(to_volume(labels, item)[0].numpy(), et_label)
        return torch.from_numpy(volume)[None][inside(item["box"])[1:]].contiguous()

    def uncertainty(self, item: dict[str, Any], logits: torch.Tensor, method: str | None = None) -> torch.Tensor:
        """Return the uncertainty in bits, ``(1, *box)``, of logits ``(R, *box)``, see :func:`measure_uncertainty`."""
        with torch.inference_mode():
            image = item["image"].as_tensor()[None].to(self.device)
            mask, given = item["available"][None].to(self.device), logits[None].to(self.device)
            return measure_uncertainty(self.inferer, self.network, image, mask, given, item["size"], method)[0].cpu()


def to_volume(values: torch.Tensor, item: Mapping[str, Any]) -> torch.Tensor:
    """Pad ``(C, *box)`` with zeros to the volume it was cropped from, ``(C, *S)``."""
    return paste(values[None], item["box"], item["size"], 0)[0]
