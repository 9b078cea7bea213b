"""From a case on disk to its mask, preview and report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureTyped, NormalizeIntensityd, Orientationd
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

from metakd_monai import __version__
from metakd_monai.cases import Case
from metakd_monai.expectations import read_expectations
from metakd_monai.exports import load_any, settle_precision, weights_checksum
from metakd_monai.files import mark_unfinished, read_record, write_json
from metakd_monai.fingerprint import code_fingerprint
from metakd_monai.inferers import ModalityInferer, Window, inside, keep_memory, paste
from metakd_monai.nifti import read_nifti, voxel_ml, write_like
from metakd_monai.postprocessing import PostProcessing
from metakd_monai.temporaries import is_unfinished, mark_finished, refuse_folders, remove
from metakd_monai.transforms import NOTE, REFERENCE, LoadImageModalitiesd, labels_to_regions, regions_to_labels
from metakd_monai.uncertainty import describe_uncertainty, measure_uncertainty
from metakd_monai.vocabulary import MODALITY_NAMES, WORKING_AXES, Label, Modality, Region, UserError, find_user_error
from metakd_monai.weights import checksum


@dataclass(frozen=True)
class Compute:
    """How a mask is computed; see :class:`~metakd_monai.inferers.ModalityInferer`.

    Attributes:
        precision: ``"auto"``, ``"fp32"`` or ``"bf16"``.
        memory_limit: GiB of the process on a CPU.
        margin: voxels kept around the brain's box.
        mirror: ``"none"``, ``"lr"`` or ``"all"``.
        overlap: of windows, where the box is not one.
        window: three lengths in voxels, or ``"whole"``, the box; None for the window that goes with the weights. In
            the settings of a mask it is never None.
    """

    precision: str = "auto"
    memory_limit: float = 3.0
    margin: int = 4
    mirror: str = "none"
    overlap: float = 0.25
    window: Window = None


@dataclass(frozen=True)
class Settings:
    """What decides a mask, apart from the case; recorded in its report.

    Masks of other code are other masks: see :mod:`metakd_monai.fingerprint`.
    """

    weights_sha256: str
    modalities: tuple[str, ...] = MODALITY_NAMES
    et_label: int = int(Label.ET)
    compute: Compute = Compute()
    postprocessing: str = "none"
    version: str = __version__
    code_sha256: str = field(default_factory=code_fingerprint)


@dataclass(frozen=True)
class Outputs:
    """Which files to write beside the mask, and whether to replace those of other settings."""

    directory: Path
    preview: bool = True
    probabilities: bool = False
    overwrite: bool = False
    uncertainty: bool = False

    def files(self, case_id: str) -> list[Path]:
        """Return all files that may lie there of a case."""
        return [*(self.directory / f"{case_id}{end}" for end in (".nii.gz", ".json", ".png")), *self.maps(case_id)]

    def maps(self, case_id: str) -> dict[Path, bool]:
        """Return the maps that may lie beside a case's mask, and whether each is asked for."""
        wanted = {"probabilities": self.probabilities, "uncertainty": self.uncertainty}
        return {self.directory / f"{case_id}_{name}.nii.gz": asked for name, asked in wanted.items()}


class Predictor:
    """A network with its weights, ready for any number of cases.

    On a CPU the process then keeps the memory that it has had, see :func:`~metakd_monai.inferers.keep_memory`.

    Args:
        weights: see :func:`~metakd_monai.exports.load_any`.
        device: of the network.
        modalities: use only these of what a case has.
        et_label: 3 or 4; None to go by each case's name.
        compute: how; ``"auto"`` precision is settled by the device.
        optimize: see :func:`~metakd_monai.weights.optimize_network`.
        postprocessing: of the label map, as :meth:`~metakd_monai.postprocessing.PostProcessing.parse` reads it.

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
        postprocessing: str = "none",
    ) -> None:
        self.postprocessing = PostProcessing.parse(postprocessing)
        self.weights, self.device, self.et_label = Path(weights), torch.device(device), et_label
        if self.device.type == "cpu":
            keep_memory()
        given = compute or Compute()
        self.network = load_any(weights, device, optimize)
        settled = replace(given, precision=settle_precision(self.network, given.precision, self.device))
        how = {name: value for name, value in asdict(settled).items() if name != "window"}
        self.inferer = ModalityInferer(settled.window, mode="gaussian", **how)
        settled = replace(settled, window=self.inferer.window_for(self.network))
        self.settings = Settings(
            checksum(weights),
            tuple(m.value for m in modalities),
            compute=settled,
            postprocessing=str(self.postprocessing),
        )
        self.expectations = read_expectations(weights, weights_checksum(self.network, weights))
        limit = settled.memory_limit if self.device.type == "cpu" else None  # of the process, on a CPU
        self.load = Compose(
            [
                LoadImageModalitiesd(modalities=modalities, memory_limit=limit, log=False),
                Orientationd(keys="image", axcodes=WORKING_AXES, labels=None),
            ]
        )
        self.normalize = Compose(
            [
                NormalizeIntensityd(keys="image", nonzero=True, channel_wise=True),
                EnsureTyped(keys="image", dtype=torch.float32),
            ]
        )

    def settings_for(self, case: Case) -> Settings:
        """Return the settings that hold for one case."""
        return replace(self.settings, et_label=case.et_label if self.et_label is None else self.et_label)

    def read(self, case: Case) -> dict[str, Any]:
        """Read a case, cut out the brain's box and normalise it.

        Returns:
            ``image`` ``(N, *box)``, axes towards left, posterior, superior; ``available`` ``(N,)``; ``box``, slices of
            the volume; ``size`` of the volume.
        """
        try:
            item: dict[str, Any] = self.load(case.as_item())
            image, available = item["image"], item["available"]
            box = self.inferer.foreground(image.as_tensor()[None], available[None])
            cut = MetaTensor(image.as_tensor()[inside(box)[1:]].clone(), meta=image.meta)
            brain: dict[str, Any] = self.normalize({**item, "image": cut})
        except RuntimeError as error:  # MONAI's Compose wraps what a transform raised
            known = find_user_error(error)
            if known is None:
                raise
            raise known from error
        return {**brain, "box": box, "size": tuple(image.shape[1:])}

    def segment(self, item: dict[str, Any]) -> torch.Tensor:
        """Return the logits of ET, TC and WT in the brain's box, ``(R, *box)`` float32."""
        with torch.inference_mode():
            image = item["image"].as_tensor()[None].to(self.device)
            mask = item["available"][None].to(self.device)
            return self.inferer.infer_box(image, self.network, mask, item["size"])[0].cpu()

    def label(self, item: Mapping[str, Any], logits: torch.Tensor, et_label: int) -> torch.Tensor:
        """Return the label map of logits ``(R, *box)``, post-processed in the whole volume, ``(1, *box)`` uint8."""
        labels = to_volume(regions_to_labels(logits > 0, et_label), item)
        volume = self.postprocessing(labels[0].numpy(), et_label)
        return torch.from_numpy(volume)[None][inside(item["box"])[1:]].contiguous()

    def uncertainty(self, item: dict[str, Any], logits: torch.Tensor, method: str | None = None) -> torch.Tensor:
        """Return how unsure a mask of logits ``(R, *box)`` is, ``(1, *box)`` bits: :mod:`metakd_monai.uncertainty`."""
        with torch.inference_mode():
            image = item["image"].as_tensor()[None].to(self.device)
            mask, given = item["available"][None].to(self.device), logits[None].to(self.device)
            return measure_uncertainty(self.inferer, self.network, image, mask, given, item["size"], method)[0].cpu()


def to_volume(values: torch.Tensor, item: Mapping[str, Any]) -> torch.Tensor:
    """Put ``(C, *box)`` into the volume that an item was cut from, ``(C, *S)``, zeros around it."""
    return paste(values[None], item["box"], item["size"], 0)[0]


def predict_case(
    predictor: Predictor, case: Case, outputs: Outputs, read: Callable[[Case], dict[str, Any]] | None = None
) -> str:
    """Segment one case and write its files, the report last; return a line that sums it up, and one for each warning.

    ``read`` stands in for :meth:`Predictor.read`, so that a case may have been read ahead.
    """
    settings = predictor.settings_for(case)
    report_path = outputs.directory / f"{case.case_id}.json"
    refuse_folders(*outputs.files(case.case_id))
    done = not outputs.overwrite and is_done(mask_path(outputs, case), report_path, settings)
    if done and all(path.exists() for path, asked in outputs.maps(case.case_id).items() if asked):
        return f"done before with the same settings, left as it is ({report_path})"
    outdated = [path for path, asked in outputs.maps(case.case_id).items() if not (asked or done)]
    start = time.perf_counter()
    item = (read or predictor.read)(case)
    was_read = time.perf_counter()
    logits = predictor.segment(item)
    window, smaller = predictor.inferer.used, predictor.inferer.describe_window()
    labels = predictor.label(item, logits, settings.et_label)
    unsure = predictor.uncertainty(item, logits) if outputs.uncertainty else None
    segmented = time.perf_counter()
    used = [m.value for m, there in zip(Modality, item["available"].tolist(), strict=True) if there]
    missing = [name for name in MODALITY_NAMES if name not in used]
    volumes = measure(labels, item["image"].affine)
    expectations = predictor.expectations
    image = item["image"]
    unusual = expectations.find_unusual(image.as_tensor(), item["available"], image.affine)
    unusual = [*filter(None, [image.meta.get(NOTE), smaller]), *unusual]
    title = f"{case.case_id}\ngiven: {', '.join(used)}   absent: {', '.join(missing) or 'none'}\n" + "   ".join(
        f"{region} {volume:.1f} mL" for region, volume in volumes.items()
    )
    mark_unfinished(mask_path(outputs, case), report_path)
    for path in outdated:  # maps of an earlier mask, which would be taken for this one's
        remove(path)
    write_outputs(outputs, case.case_id, item, logits, labels, title, unsure)
    written = time.perf_counter()
    report = {
        "case": case.case_id,
        "settings": asdict(settings),
        "weights": str(predictor.weights),
        "device": str(predictor.device),
        "window": window,
        "files": case.as_item()["image"],
        "notes": list(case.notes),
        "modalities": {"used": used, "missing": missing},
        "volumes_ml": volumes,
        "expected": expectations.report(used),
        "warnings": unusual,
        "uncertainty": None if unsure is None else describe_uncertainty(item["available"].tolist()),
        "seconds": {"read": was_read - start, "segment": segmented - was_read, "write": written - segmented},
    }
    write_json(report_path, report)
    mark_finished(mask_path(outputs, case))
    sizes = ", ".join(f"{region} {volume:.1f} mL" for region, volume in volumes.items())
    given = f"given {', '.join(used)}; absent {', '.join(missing) or 'none'}"
    notes = "".join(f"; {note}" for note in (expectations.describe(used), expectations.note) if note)
    line = f"{sizes} ({given}) in {written - start:.1f} s{notes}"
    return "\n".join([line, *(f"warning: {text}" for text in unusual)])


def mask_path(outputs: Outputs, case: Case) -> Path:
    """Return where a case's mask goes."""
    return outputs.directory / f"{case.case_id}.nii.gz"


def is_done(mask: Path, report: Path, settings: Settings) -> bool:
    """Tell whether a case has its mask from these very settings.

    Raises:
        UserError: when a mask of other settings, or of unknown ones, would be overwritten.
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
        from metakd_monai.preview import draw_preview

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


def measure(labels: torch.Tensor, affine: torch.Tensor) -> dict[str, float]:
    """Return the volumes of ET, TC and WT in mL of a label map ``(1, *S)`` with an affine ``(4, 4)`` in mm."""
    each = voxel_ml(affine)
    return {r.value: round(float(m.sum()) * each, 3) for r, m in zip(Region, labels_to_regions(labels), strict=True)}
