"""Scores of images that are not labelled yet, and the choice of the next one to label by them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from segment import Segment
from worth import expected_dice, mean_uncertainty

from metakd_monai.apps.raw.raw_cases import RawCase

logger = logging.getLogger(__name__)

DICE, UNCERTAINTY = "expected_dice", "uncertainty"
WEIGHTS = "scored_with"  # SHA-256 of the weights that an image's scores are of


class Scoring(ScoringMethod):
    """Give each image without a label the Dice that its mask predicts, and how unsure the mask is.

    Both go into the datastore's information on the image. Images that the current weights have scored are skipped.

    Args:
        segment: what segments.
    """

    def __init__(self, segment: Segment) -> None:
        super().__init__("Dice that the mask predicts of itself, and uncertainty in bits")
        self.segment = segment

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any]:
        """Score, a case once for all its images; return how many were scored, skipped, and refused."""
        weights = self.segment.predictor().settings.weights_sha256
        counts = {"scored": 0, "skipped": 0, "refused": 0}
        known: dict[str, dict[str, Any]] = {}
        for image in sorted(datastore.get_unlabeled_images()):
            if datastore.get_image_info(image).get(WEIGHTS) == weights:
                counts["skipped"] += 1
                continue
            try:
                case = self.segment.images.case_of({**request, "image": str(self.segment.images.fetch(image))})
                key = str(case.stacked or case.series)
                known[key] = known.get(key) or self.score(case, request)
            except Exception as error:  # one image of many
                logger.warning("%s: not scored (%s)", image, error)
                counts["refused"] += 1
                continue
            datastore.update_image_info(image, {**known[key], WEIGHTS: weights})
            counts["scored"] += 1
        logger.info("scoring: %s", counts)
        return counts

    def score(self, case: RawCase, request: dict[str, Any]) -> dict[str, float | None]:
        """Return the scores of one case."""
        ready = self.segment.images.examine(case).case
        found, report = self.segment.find(ready, request.get("device"), uncertainty=True)
        return {DICE: expected_dice(report), UNCERTAINTY: mean_uncertainty(found.entropy, found.labels)}


class Ranking(Strategy):
    """Choose the image without a label whose score is the highest, or the lowest.

    Images that the current weights have not scored come after the others, in the order of their names; the rest of a
    case of which one image is labelled comes last.

    Args:
        segment: what segments.
        score: its name.
        highest: whether the highest comes first.
    """

    def __init__(self, segment: Segment, score: str, highest: bool) -> None:
        super().__init__(f"{'Highest' if highest else 'Lowest'} {score.replace('_', ' ')} first")
        self.segment, self.score, self.highest = segment, score, highest

    def __call__(self, request: dict[str, Any], datastore: Any) -> dict[str, Any] | None:
        """Return the image's id and score; None where all are labelled."""
        weights = self.segment.predictor().settings.weights_sha256
        labelled = self.segment.images.labelled_files()
        ranked = []
        for image in datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")):
            info = datastore.get_image_info(image)
            score = info.get(self.score) if info.get(WEIGHTS) == weights else None
            rank = 0 if score is None else -score if self.highest else score
            ranked.append(
                (bool(labelled) and Path(datastore.get_image_uri(image)) in labelled, score is None, rank, image)
            )
        if not ranked:
            return None
        _, unknown, rank, image = min(ranked)
        return {"id": image, self.score: None if unknown else abs(rank)}
