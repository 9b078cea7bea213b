"""Results in DICOM's terms: codes of regions and measurements, colours, the algorithm that made them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from metakd_monai import __version__
from metakd_monai.vocabulary import Modality, Region

ALGORITHM, MAKER = "MetaKD", "metakd-monai contributors"
# Of each region: in words, property type of DICOM PS3.16 CID 7159 or SNOMED CT, and a colour (Okabe and Ito), in RGB.
# Tumour core and whole tumour are terms of BraTS, for which there is no code.
SEGMENTS = {
    Region.ET: ("enhancing tumour", codes.NCIt.EnhancingLesion, (240, 228, 66)),
    Region.TC: ("tumour core: enhancing and necrotic tumour", codes.SCT.Neoplasm, (213, 94, 0)),
    Region.WT: ("whole tumour: tumour core and oedema", codes.SCT.Lesion, (0, 158, 115)),
}
ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure
MILLILITRE = Code("mL", "UCUM", "milliliter")
OWN_SCHEME = "99METAKD"
DICE = {
    "dice": Code("DICE", OWN_SCHEME, "Expected Dice coefficient"),
    "low": Code("DICE_LOW", OWN_SCHEME, "Expected Dice coefficient, lower end of range"),
    "high": Code("DICE_HIGH", OWN_SCHEME, "Expected Dice coefficient, upper end of range"),
}
USED, MISSING = (
    Code("SEQUENCE_USED", OWN_SCHEME, "Sequence used"),
    Code("SEQUENCE_MISSING", OWN_SCHEME, "Sequence missing"),
)
SEQUENCES = {
    Modality.FLAIR: Code("FLAIR", OWN_SCHEME, "FLAIR"),
    Modality.T1: Code("T1", OWN_SCHEME, "T1-weighted"),
    Modality.T1CE: Code("T1CE", OWN_SCHEME, "T1-weighted with contrast agent"),
    Modality.T2: Code("T2", OWN_SCHEME, "T2-weighted"),
}
FROM_MASK = Code("FROM_MASK", OWN_SCHEME, "Predicted from the mask")
FROM_SEQUENCES = Code("FROM_SEQUENCES", OWN_SCHEME, "Measured on other cases with these sequences")


def own_scheme() -> CodingSchemeIdentificationItem:
    """Return the attribute that an object with private codes needs."""
    return CodingSchemeIdentificationItem(OWN_SCHEME, name="metakd-monai", responsible_organization=MAKER)


def parameters_of(report: Mapping[str, Any]) -> dict[str, str]:
    """Return how a mask was made, from its report: the weights' checksum, sequences used and missing."""
    modalities = report["modalities"]
    return {
        "weights_sha256": report["settings"]["weights_sha256"],
        "sequences_used": ",".join(modalities["used"]),
        "sequences_missing": ",".join(modalities["missing"]) or "none",
    }


def equipment() -> dict[str, Any]:
    """Return highdicom's arguments for the program that made an object."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": "metakd-monai",
        "software_versions": __version__,
        "device_serial_number": "0",
        "specific_character_set": "ISO_IR 192",
    }
