"""MONAI Label's training, on the cases of labelled images."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from images import Images
from labels import label_of_case, readable_label
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.tasks.train.bundle import BundleTrainTask


class Train(BundleTrainTask):
    """Train the bundle, each case once, whichever of its images is labelled.

    Unless ``pretrained`` is off, the network is that of the weights in use: those that the bundle ships have other
    widths than the one that ``train.json`` begins anew.

    Args:
        bundle: its folder.
        images: of the datastore.
        values: of the labels' names.
        conf: of the server.
    """

    def __init__(self, bundle: Path, images: Images, values: dict[str, int], conf: dict[str, str]) -> None:
        super().__init__(str(bundle), conf)
        self.images, self.values = images, values

    def __call__(self, request: dict[str, Any], datastore: Any) -> Any:
        """Train; label maps that had to be made anew last as long as that."""
        with tempfile.TemporaryDirectory() as folder:
            self.made = Path(folder)
            return super().__call__(request, datastore)

    def _load_checkpoint(self, model_pytorch: str, pretrained: bool, train_handlers: list[Any]) -> None:
        """Leave the weights to ``init_weights``, which builds their network too."""
        self.start = model_pytorch if pretrained else None

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Say which weights the training begins with."""
        overrides["init_weights"] = self.start
        return overrides

    def _fetch_datalist(self, request: dict[str, Any], datastore: Any) -> list[dict[str, Any]]:
        """Return a datalist: of each case a mapping from sequence to file, and its label map."""
        found: dict[str, dict[str, Any]] = {}
        for entry in super()._fetch_datalist(request, datastore):
            image, label = Path(entry["image"]), Path(entry["label"])
            case = self.images.case_of({"image": str(image)})
            key = str(case.stacked or case.series)
            if key in found:
                continue
            info = datastore.get_label_info(image.name.split(".nii")[0], DefaultLabelTag.FINAL)
            segments = [segment["name"] for segment in info.get("label_info") or []]
            examination = self.images.examine(case)
            drawn = readable_label(label, segments, self.values, self.made)
            found[key] = {
                "image": examination.case.as_item()["image"],
                "label": str(label_of_case(drawn, examination, self.made)),
            }
        return list(found.values())
