"""MONAI Label's app for the segmentation bundle: what ``monailabel start_server --app`` loads."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import monailabel
from archive import Archive
from fastapi import HTTPException
from images import Images
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.infer_v2 import InferTask
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from scores import DICE, UNCERTAINTY, Ranking, Scoring
from segment import Segment
from train import Train

from metakd_monai.bundle.root import SEGMENTATION_BUNDLE, copy_bundle
from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)


class MetaKDApp(MONAILabelApp):
    """The bundle with whole cases, whichever of its images a client names, and with scores to choose what to label.

    Args:
        app_dir: where this file lies; the bundle is ``model/brats_mri_metakd_segmentation`` in it, which is written
            there when the server starts for the first time.
        studies: folder or DICOMweb address.
        conf: of ``--conf``; nothing is expected.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.bundle = Path(app_dir, "model", SEGMENTATION_BUNDLE)
        if not self.bundle.exists():
            self.bundle.parent.mkdir(exist_ok=True)
            copy_bundle(self.bundle)
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name=f"MONAILabel - MetaKD ({monailabel.__version__})",
            description="Brain tumours from any subset of FLAIR, T1, T1ce and T2",
            version=monailabel.__version__,
        )

    def _init_dicomweb_datastore(self) -> Datastore:
        """Return the datastore of a DICOMweb server."""
        return Archive.of(super()._init_dicomweb_datastore())

    def init_infers(self) -> dict[str, InferTask]:
        """Return the one model."""
        self.segment = Segment(self.bundle, Images(self._datastore))
        return {SEGMENTATION_BUNDLE: self.segment}

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the training of that model."""
        return {SEGMENTATION_BUNDLE: Train(self.bundle, self.segment.images, self.segment.labels, self.conf)}

    def init_scoring_methods(self) -> dict[str, ScoringMethod]:
        """Return the method that scores what is not labelled yet."""
        return {DICE: Scoring(self.segment)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the ways to choose what to label next."""
        return {
            UNCERTAINTY: Ranking(self.segment, UNCERTAINTY, highest=True),
            DICE: Ranking(self.segment, DICE, highest=False),
            "random": Random(),
            "first": First(),
        }

    def infer(self, request: dict[str, Any], datastore: Any = None) -> dict[str, Any]:
        """Segment as MONAI Label does; what is refused is told to the client, not to the server's log alone."""
        image = request.get("image")
        try:
            unfetched = isinstance(image, str) and not Path(image).exists()
            if unfetched and not self.segment.images.fetch(image).is_file():
                raise UserError(f"{image}: no such image; expected the id of one in the datastore, or a file")
            found: dict[str, Any] = super().infer(request, datastore)
        except UserError as error:
            logger.warning("refused: %s", error)
            raise HTTPException(status_code=422, detail=str(error)) from None
        return found
