"""Scores as the BraTS servers compute them, of files, arrays and (in ``metakd_monai.scores.metrics``) in training."""

from metakd_monai.scores.cases import columns_of, score_case, score_regions
from metakd_monai.scores.conventions import CONVENTIONS, HD95_KINDS, convention_of, region_masks
from metakd_monai.scores.distances import hd95
from metakd_monai.scores.evaluate import CaseResult, Evaluation, evaluate_folders
from metakd_monai.scores.lesionwise import LesionScores, score_lesions
from metakd_monai.scores.regions import RegionScores, score_region
from metakd_monai.scores.report import check_place, distance_means, summarise, write_report

__all__ = [
    "CONVENTIONS",
    "HD95_KINDS",
    "CaseResult",
    "Evaluation",
    "LesionScores",
    "RegionScores",
    "check_place",
    "columns_of",
    "convention_of",
    "distance_means",
    "evaluate_folders",
    "hd95",
    "region_masks",
    "score_case",
    "score_lesions",
    "score_region",
    "score_regions",
    "summarise",
    "write_report",
]
