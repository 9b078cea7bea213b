"""Scores as the BraTS servers compute them, of arrays and (in ``metakd_monai.metrics.region_metrics``) in training."""

from metakd_monai.metrics.case_scores import columns_of, score_case, score_regions
from metakd_monai.metrics.conventions import CONVENTIONS, HD95_KINDS, convention_of, region_masks
from metakd_monai.metrics.distances import hd95
from metakd_monai.metrics.lesionwise import LesionScores, score_lesions
from metakd_monai.metrics.region_scores import RegionScores, score_region

__all__ = [
    "CONVENTIONS",
    "HD95_KINDS",
    "LesionScores",
    "RegionScores",
    "columns_of",
    "convention_of",
    "hd95",
    "region_masks",
    "score_case",
    "score_lesions",
    "score_region",
    "score_regions",
]
