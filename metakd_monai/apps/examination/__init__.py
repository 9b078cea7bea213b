"""From a patient's examination to results: series are chosen, prepared, segmented, carried back and reported."""

from metakd_monai.apps.examination.steps import (
    Examination,
    find_examinations,
    finish_examinations,
    lay_on_series,
    prepare_examination,
    prepare_examinations,
)
from metakd_monai.apps.raw.preparation import plan_preparation

__all__ = [
    "Examination",
    "find_examinations",
    "finish_examinations",
    "lay_on_series",
    "plan_preparation",
    "prepare_examination",
    "prepare_examinations",
]
