"""A structured report by DICOM's TID 1500: volumes of ET, TC and WT, their sources, the Dice to expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from highdicom import sr
from pydicom.sr.codedict import codes

from metakd_monai import __version__
from metakd_monai.apps.dicom_results.dicom_terms import (
    ABNORMAL,
    ALGORITHM,
    DICE,
    FROM_MASK,
    FROM_SEQUENCES,
    MAKER,
    MILLILITRE,
    MISSING,
    SEGMENTS,
    SEQUENCES,
    USED,
    equipment,
    own_scheme,
    parameters_of,
)
from metakd_monai.apps.dicom_results.segmentation_object import number_of, tracking_uid
from metakd_monai.apps.dicom_results.source_series import Identity, Sources
from metakd_monai.vocabulary import Modality, Region


def make_structured_report(
    segmentation: Any,
    volumes: Mapping[str, float],
    sources: Sources,
    identity: Identity,
    report: Mapping[str, Any],
    series_number: int,
) -> Any:
    """Return the structured report.

    Args:
        segmentation: the object whose segments it refers to.
        volumes: of ET, TC and WT in mL, on the segmentation's grid.
        sources: the series that the mask was made from.
        identity: determines the UIDs.
        report: on the case.
        series_number: of its series.
    """
    groups = [measure(region, segmentation, volumes[region.value], identity, report) for region in Region]
    for text in report["warnings"]:
        groups[-1][0].ContentSequence.append(comment(text))  # of the whole tumour
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer()),
        procedure_reported=codes.LN.BrainMRI,
        imaging_measurements=groups,
    )
    return sr.Comprehensive3DSR(
        evidence=[*sources.everything, segmentation],
        content=content[0],
        series_instance_uid=identity.uid("report"),
        series_number=series_number,
        sop_instance_uid=identity.uid("report", "object"),
        instance_number=1,
        is_complete=True,
        series_description="Brain tumour volumes (research use only)",
        coding_schemes=[own_scheme()],
        **equipment(),
    )


def observer() -> Any:
    """Return the content items for the observer, a program."""
    uid = Identity(__version__).uid("program")
    device = sr.DeviceObserverIdentifyingAttributes(uid, "metakd-monai", MAKER, f"metakd-monai {__version__}")
    return sr.ObserverContext(codes.DCM.Device, device)


def measure(
    region: Region, segmentation: Any, millilitres: float, identity: Identity, report: Mapping[str, Any]
) -> Any:
    """Return the measurements of one region."""
    segment = sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number_of(region),
        source_series=sr.SourceSeriesForSegmentation(segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID),
    )
    parameters = [f"{name}={value}" for name, value in parameters_of(report).items()]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid(region, identity), region.value),
        referenced_segment=segment,
        finding_category=ABNORMAL,
        finding_type=SEGMENTS[region][1],
        finding_sites=[sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=sr.AlgorithmIdentification(ALGORITHM, __version__, parameters),
        measurements=[sr.Measurement(codes.SCT.Volume, millilitres, MILLILITRE), *expected_dice(region, report)],
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name, SEQUENCES[Modality(modality)])
            for name, modalities in ((USED, report["modalities"]["used"]), (MISSING, report["modalities"]["missing"]))
            for modality in modalities
        ],
    )


def expected_dice(region: Region, report: Mapping[str, Any]) -> list[Any]:
    """Return the Dice to expect of a region with its range: predicted from the mask, or else from its sequences."""
    expected = report["expected"] or {}
    predicted = expected.get("predicted", {}).get(region.value)
    measured = expected.get("dice", {}).get(region.value)
    if predicted is None and measured is None:
        return []
    found = predicted or {"dice": measured["median"], "low": measured["low"], "high": measured["high"]}
    method = FROM_MASK if predicted else FROM_SEQUENCES
    return [sr.Measurement(DICE[name], found[name], codes.UCUM.NoUnits, method=method) for name in DICE]


def comment(text: str) -> Any:
    """Return a warning as a content item."""
    return sr.TextContentItem(codes.DCM.Comment, text, sr.RelationshipTypeValues.CONTAINS)
