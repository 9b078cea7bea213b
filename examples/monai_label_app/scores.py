"""Scores of images that are not labelled yet, and the choice of the next one to label by them."""

from __future__ import annotations

import logging
from typing import Any

from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy
from segment import Segment
from worth import expected_dice, mean_uncertainty

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
        """Score; return how many were scored, skipped, and refused."""
        weights = self.segment.predictor().settings.weights_sha256
        counts = {"scored": 0, "skipped": 0, "refused": 0}
        for image in sorted(datastore.get_unlabeled_images()):
            if datastore.get_image_info(image).get(WEIGHTS) == weights:
                counts["skipped"] += 1
                continue
            try:
                asked = {**request, "image": datastore.get_image_uri(image)}
                _, found, report = self.segment.find(asked, uncertainty=True)
            except Exception as error:  # one image of many
                logger.warning("%s: not scored (%s)", image, error)
                counts["refused"] += 1
                continue
            scores = {DICE: expected_dice(report), UNCERTAINTY: mean_uncertainty(found.entropy, found.labels)}
            datastore.update_image_info(image, {**scores, WEIGHTS: weights})
            counts["scored"] += 1
        logger.info("scoring: %s", counts)
        return counts


class Ranking(Strategy):
    """Choose the image without a label whose score is the highest, or the lowest.

    Images that the current weights have not scored come last, in the order of their names; so does the rest of a case
    of which one image is labelled.

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
        ranked = []
        for image in datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels")):
            info = datastore.get_image_info(image)
            score = info.get(self.score) if info.get(WEIGHTS) == weights else None
            ranked.append((score is None, 0 if score is None else -score if self.highest else score, image))
        if not ranked:
            return None
        unknown, score, image = min(ranked)
        return {"id": image, self.score: None if unknown else abs(score)}
