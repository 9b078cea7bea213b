"""The paper's Table 1 for your own network: every case with all 15 subsets of its sequences."""

from metakd_monai.apps.benchmark.benchmark_items import check_apart, choose_items
from metakd_monai.apps.benchmark.benchmark_run import run_benchmark
from metakd_monai.apps.benchmark.comparison import Comparison, compare, read_reference
from metakd_monai.apps.benchmark.subset_tables import ScoreTable, read_scores
from metakd_monai.apps.benchmark.tuning import tune_postprocessing
from metakd_monai.apps.predict.subset_predictor import SubsetPredictor

__all__ = [
    "Comparison",
    "ScoreTable",
    "SubsetPredictor",
    "check_apart",
    "choose_items",
    "compare",
    "read_reference",
    "read_scores",
    "run_benchmark",
    "tune_postprocessing",
]
