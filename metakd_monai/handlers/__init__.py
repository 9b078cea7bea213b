"""Ignite handlers: importance, teachers, dropping, augmentation, checkpoints, logs, times, progress, losses."""

from metakd_monai.handlers.augmentation import AugmentHandler
from metakd_monai.handlers.checkpoint import CheckpointHandler
from metakd_monai.handlers.election import ElectTeachersHandler
from metakd_monai.handlers.logs import LossReader, MetaReader, MetricReader, ProgressHandler, ScalarLogHandler
from metakd_monai.handlers.meta_pass import NoMetaPassHandler
from metakd_monai.handlers.meta_update import MetaUpdateHandler
from metakd_monai.handlers.modality_dropping import DropModalitiesHandler
from metakd_monai.handlers.timing import TimingReader
from metakd_monai.handlers.validation_loss import ValidationLossHandler

__all__ = [
    "AugmentHandler",
    "CheckpointHandler",
    "DropModalitiesHandler",
    "ElectTeachersHandler",
    "LossReader",
    "MetaReader",
    "MetaUpdateHandler",
    "MetricReader",
    "NoMetaPassHandler",
    "ProgressHandler",
    "ScalarLogHandler",
    "TimingReader",
    "ValidationLossHandler",
]
