"""One path from a patient's examination to its results: series chosen, prepared, segmented, carried back, reported."""

from metakd_monai.apps.examination.steps import Examination, finish_examination, prepare_examinations

__all__ = ["Examination", "finish_examination", "prepare_examinations"]
