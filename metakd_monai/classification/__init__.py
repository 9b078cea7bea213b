"""What classification needs beside the core: batches of unlike modalities, scores, all subsets."""

from metakd_monai.classification.batches import BatchLoader, PrepareModalities
from metakd_monai.classification.commands import classify, evaluate
from metakd_monai.classification.scores import SCORES, predict, score, score_subsets, write_scores

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
