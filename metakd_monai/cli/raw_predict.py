"""What ``metakd predict --raw`` adds: scans are prepared first, and masks are carried back onto them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

RAW_ONLY = ("brain_mask", "centre", "dicom", "series", "template")  # options that go with --raw


def check_raw_options(options: Mapping[str, Any]) -> None:
    """Raise UserError for options of raw scans without ``--raw``, and for files by sequence with it."""
    given = [name for name in RAW_ONLY if options[name]]
    if options["strip"] != "auto":
        given.append("strip")
    if not options["pseudonyms"]:
        given.append("patient_ids")
    if options["raw"] and any(options[m.value] for m in Modality):
        raise UserError("--raw: goes with INPUT; put the files of one patient into a folder")
    if given and not options["raw"]:
        raise UserError(f"--{given[0].replace('_', '-')}: goes with --raw; INPUT is taken as it is without that")


def prepare_input(source: Path | None, options: Mapping[str, Any]) -> tuple[list[Any], int]:
    """Prepare raw scans in ``OUT/prepared``; return the examinations to segment, and how many could not be prepared.

    Warnings of the preparation become notes of the case, and so appear in its report.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.examination import prepare_examinations
    from metakd_monai.cli.prepare_raw import find_patients, make_plan, progress_of

    if source is None:
        raise UserError("--raw: no INPUT given; expected a patient's folder, or a folder of patients")
    if options["dicom"]:
        from metakd_monai.apps.dicom_results.write_objects import check_highdicom

        check_highdicom()
    cases = find_patients(source, options)
    plan = partial(make_plan, options)
    with logging_redirect_tqdm():
        ready = prepare_examinations(cases, options["output"], plan, options["jobs"] or 1, progress_of(cases))
    return ready, len(cases) - len(ready)
