"""ADNI: four modalities of a subject, most of which lack some. Needs the extra ``metakd-monai[classification]``."""

from metakd_monai.apps.adni.prepare import MODALITIES, PARTS, encode_adni, prepare_adni
from metakd_monai.apps.adni.simulated_subjects import MISSING, SEPARATION, simulate_adni
from metakd_monai.apps.adni.subject_items import make_encoders, read_cohort, read_manifest
from metakd_monai.apps.adni.tables import CLASSES

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
