"""The picture of a result as DICOM Secondary Capture, in colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from PIL import Image

from metakd_monai.apps.dicom_results.dicom_terms import equipment
from metakd_monai.apps.dicom_results.source_series import Identity, Sources
from metakd_monai.errors import UserError, in_one_line


def make_capture(picture: Path, sources: Sources, identity: Identity, series_number: int) -> Any:
    """Return a picture as an object.

    Raises:
        UserError: when it cannot be read.
    """
    try:
        with Image.open(picture) as image:
            pixels = np.array(image.convert("RGB"))
    except OSError as error:
        raise UserError(f"{picture}: cannot be read ({in_one_line(error, 100)}); expected a picture") from None
    capture = hd.sc.SCImage.from_ref_dataset(
        sources.headers[0],
        pixels,
        photometric_interpretation=hd.PhotometricInterpretationValues.RGB,
        bits_allocated=8,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        patient_orientation=("L", "P"),  # of its first row, axial slices
        series_instance_uid=identity.uid("picture"),
        series_number=series_number,
        sop_instance_uid=identity.uid("picture", "object"),
        instance_number=1,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_description="Brain tumour picture (research use only)",
        **equipment(),
    )
    capture.ConversionType = "WSD"
    capture.BodyPartExamined = "BRAIN"
    capture.BurnedInAnnotation = "YES"  # the name of the case
    return capture
