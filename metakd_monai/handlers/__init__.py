"""Ignite handlers: the importance update, dropping of modalities, checkpoints, logs and a progress bar."""

from metakd_monai.handlers.checkpoint import CheckpointHandler
from metakd_monai.handlers.dropping import DropModalitiesHandler
from metakd_monai.handlers.logs import LossReader, MetaReader, MetricReader, ProgressHandler, ScalarLogHandler
from metakd_monai.handlers.meta_update import MetaUpdateHandler

__all__ = [
    "CheckpointHandler",
    "DropModalitiesHandler",
    "LossReader",
    "MetaReader",
    "MetaUpdateHandler",
    "MetricReader",
    "ProgressHandler",
    "ScalarLogHandler",
]
