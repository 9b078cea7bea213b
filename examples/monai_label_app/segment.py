"""MONAI Label's inference: the very path of ``metakd predict``, its report handed to the client."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from images import Images
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.transform.writer import Writer
from monailabel.utils.others.generic import device_list, name_to_device

from metakd_monai.apps.examination import Examination, lay_on_series
from metakd_monai.apps.predict.case_report import Segmented, make_report, segment_case
from metakd_monai.apps.predict.outputs import Outputs, to_native
from metakd_monai.apps.predict.predictor import Predictor, to_volume
from metakd_monai.data.cases import Case
from metakd_monai.data.files import read_json
from metakd_monai.data.nifti import read_nifti
from metakd_monai.transforms import REFERENCE
from metakd_monai.vocabulary import Label

logger = logging.getLogger(__name__)

TOLD = ("notes", "modalities", "volumes_ml", "expected", "warnings")  # of the report, to the client


class Segment(InferTask):
    """Segment one case.

    Args:
        bundle: its folder; ``models/model.pt`` is read again when a training has replaced it.
        images: of the datastore.
    """

    def __init__(self, bundle: Path, images: Images) -> None:
        self.bundle, self.images = bundle, images
        metadata = read_json(bundle / "configs" / "metadata.json", "metadata of a bundle")
        names = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        choices = read_json(bundle / "configs" / "inference.json", "a bundle's configuration")["displayable_configs"]
        super().__init__(
            InferType.SEGMENTATION,
            labels={name: int(value) for value, name in names.items() if int(value) != Label.BACKGROUND},
            dimension=3,
            description=metadata["description"],
            config={**choices, "device": device_list()},
        )
        self.loaded: tuple[tuple[int, str], Predictor] | None = None

    def is_valid(self) -> bool:
        """Tell whether there are weights."""
        return self.get_path() is not None

    def get_path(self, validate: bool = True) -> str | None:
        """Return the weights' file."""
        path = self.bundle / "models" / "model.pt"
        return str(path) if path.is_file() or not validate else None

    def predictor(self, device: Any = None) -> Predictor:
        """Return what segments, with the weights as they are now; on a device that MONAI Label names, or the first."""
        path, name = self.bundle / "models" / "model.pt", name_to_device(device)
        state = (path.stat().st_mtime_ns, name)
        if self.loaded is None or self.loaded[0] != state:
            predictor = Predictor(path, name, et_label=int(Label.ET_2023), postprocessing="auto")
            self.loaded = (state, predictor)
        return self.loaded[1]

    def find(self, case: Case, device: Any = None, uncertainty: bool = False) -> tuple[Segmented, dict[str, Any]]:
        """Segment a case that is ready; return what became of it, and the report."""
        predictor = self.predictor(device)
        settings = predictor.settings_for(case)
        found = segment_case(predictor, case, Outputs(Path(), uncertainty=uncertainty), settings, predictor.read)
        return found, make_report(predictor, case, found, settings)

    def __call__(self, request: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Segment; return the mask's file and what a client is told of it."""
        asked = {**self.config(), **request}
        examination = self.images.examine(self.images.case_of(asked))
        found, report = self.find(examination.case, asked["device"])
        for line in (*report["notes"], *report["warnings"]):
            logger.warning("%s: %s", report["case"], line)
        mask, affine = self.mask_on(asked["image"], examination, found)
        written = {"result_extension": ".nii.gz", "result_dtype": "uint8", **request}
        file, _ = Writer()({**written, "pred": mask, "pred_meta_dict": {"affine": affine}})
        told = json.loads(json.dumps({name: report[name] for name in TOLD}))
        return file, {"label_names": self.labels, "latencies": report["seconds"], **told}

    def mask_on(self, image: Any, examination: Examination, found: Segmented) -> tuple[np.ndarray, np.ndarray]:
        """Return the mask on the grid of the image that was asked for, and the grid's affine."""
        grid = read_nifti(found.item["image"].meta[REFERENCE])
        mask = to_native(to_volume(found.labels, found.item), grid.affine)[..., 0]
        asked = (modality for modality, file in examination.raw.series.items() if str(file) == image)
        return lay_on_series(examination, mask, grid.affine, next(asked, None))
