"""Many cases: one after the other, in several processes, or in a Ray cluster; each exactly once."""

from metakd_monai.apps.cohort.engine import Engine, predict_cases
from metakd_monai.apps.cohort.worker import MakePredictor, Outcome, Worker

__all__ = ["Engine", "MakePredictor", "Outcome", "Worker", "predict_cases"]
