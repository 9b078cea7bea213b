"""``metakd evaluate``: folders of label maps against references, as the BraTS servers score them."""

from metakd_monai.apps.evaluate.evaluation import CaseResult, Evaluation, evaluate_folders
from metakd_monai.apps.evaluate.score_table import check_place, distance_means, summarise, write_report

__all__ = [
    "CaseResult",
    "Evaluation",
    "check_place",
    "distance_means",
    "evaluate_folders",
    "summarise",
    "write_report",
]
