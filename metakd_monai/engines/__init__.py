"""Algorithm 1, lower problem."""

from metakd_monai.engines.trainer import MetaKDTrainer

__all__ = [
    "MetaKDTrainer",
]
