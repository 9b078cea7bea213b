"""What classification adds to the core: batches of different kinds of modalities, scores, all subsets."""

from metakd_monai.apps.classification.batches import BatchLoader, PrepareModalities
from metakd_monai.apps.classification.class_scores import SCORES, predict, score, score_subsets, write_scores
from metakd_monai.apps.classification.commands import classify, evaluate

__all__ = [
    "SCORES",
    "BatchLoader",
    "PrepareModalities",
    "classify",
    "evaluate",
    "predict",
    "score",
    "score_subsets",
    "write_scores",
]
