"""ADNI: four modalities of a subject, most of which lack some. Needs the extra ``metakd-monai[classification]``."""

from metakd_monai.adni.items import make_encoders, read_cohort, read_manifest
from metakd_monai.adni.prepare import MODALITIES, PARTS, encode_adni, prepare_adni
from metakd_monai.adni.simulate import MISSING, SEPARATION, simulate_adni
from metakd_monai.adni.tables import CLASSES

__all__ = [
    "CLASSES",
    "MISSING",
    "MODALITIES",
    "PARTS",
    "SEPARATION",
    "encode_adni",
    "make_encoders",
    "prepare_adni",
    "read_cohort",
    "read_manifest",
    "simulate_adni",
]
