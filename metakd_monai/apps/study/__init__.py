"""Weights on real cases, in every subset of their sequences, against aims and other weights; report and pictures."""

from metakd_monai.apps.study.study_run import Study, run_study

__all__ = ["Study", "run_study"]
