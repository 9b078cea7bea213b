"""Dictionary transforms that MONAI lacks: sequences by name, availability, overlapping regions, exact grids."""

from metakd_monai.transforms.dropping import RandDropModalitiesd
from metakd_monai.transforms.images import CASE_ID, NOTE, REFERENCE, LoadImageModalitiesd, SaveImageMaskd
from metakd_monai.transforms.labels import LoadLabeld
from metakd_monai.transforms.normalize import normalize_nonzero
from metakd_monai.transforms.regions import LabelsToRegionsd, RegionsToLabelsd, labels_to_regions, regions_to_labels

__all__ = [
    "CASE_ID",
    "NOTE",
    "REFERENCE",
    "LabelsToRegionsd",
    "LoadImageModalitiesd",
    "LoadLabeld",
    "RandDropModalitiesd",
    "RegionsToLabelsd",
    "SaveImageMaskd",
    "labels_to_regions",
    "normalize_nonzero",
    "regions_to_labels",
]
