"""From a whole volume to logits: the brain's bounding box, sliding windows within memory, precision, mirroring."""

from metakd_monai.inferers.modality import MIRRORINGS, OUTSIDE_LOGIT, ModalityInferer, inside, paste
from metakd_monai.inferers.precision import PRECISIONS, autocast, choose_precision
from metakd_monai.inferers.window import WHOLE, Window, parse_window, window_of

__all__ = [
    "MIRRORINGS",
    "OUTSIDE_LOGIT",
    "PRECISIONS",
    "WHOLE",
    "ModalityInferer",
    "Window",
    "autocast",
    "choose_precision",
    "inside",
    "parse_window",
    "paste",
    "window_of",
]
