"""What ``metakd predict --raw`` does before and after it segments: scans prepared, masks carried back onto them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

PREPARED, NATIVE = "prepared", "_native"
RAW_ONLY = ("brain_mask", "centre", "series", "template")  # options that go with --raw


def check_raw_options(options: Mapping[str, Any]) -> None:
    """Raise UserError for options of raw scans without ``--raw``, and for files by sequence with it."""
    given = [name for name in RAW_ONLY if options[name]]
    if options["strip"] != "auto":
        given.append("strip")
    if options["raw"] and any(options[m.value] for m in Modality):
        raise UserError("--raw: goes with INPUT; put the files of one patient into a folder")
    if given and not options["raw"] and given != ["template"]:  # which the environment may name
        raise UserError(f"--{given[0].replace('_', '-')}: goes with --raw; INPUT is taken as it is without that")


def prepare_input(source: Path | None, options: Mapping[str, Any]) -> tuple[list[Any], int]:
    """Prepare raw scans into ``OUT/prepared``; return the cases to segment, and how many could not be prepared.

    What the preparation warns of stands among a case's notes, and so in its report.
    """
    from metakd_monai.apps.raw.carry import prepared_case
    from metakd_monai.cli.prepare_raw import run_preparation

    if source is None:
        raise UserError("--raw: no INPUT given; expected a patient's folder, or a folder of patients")
    folder = options["output"] / PREPARED
    cases, outcomes = run_preparation(source, folder, options)
    done = {outcome.case_id: outcome for outcome in outcomes if not outcome.failed}
    notes = {case.case_id: case.notes for case in cases}
    ready = [prepared_case(folder / name, (*notes[name], *done[name].warnings)) for name in done]
    return ready, len(cases) - len(done)


def carry_results(cases: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Carry the masks and maps of cases onto the grids of their raw series, into ``OUT/CASE_native``."""
    from metakd_monai.apps.raw.carry import carry_case

    for case in cases:
        folder = options["output"] / f"{case.case_id}{NATIVE}"
        volumes = carry_case(options["output"], options["output"] / PREPARED / case.case_id, folder, case.case_id)
        told = "; ".join(
            f"{name} {', '.join(f'{r} {v:.1f}' for r, v in found.items())} mL" for name, found in volumes.items()
        )
        click.echo(f"{case.case_id}: on the raw grids: {told}; in {folder}")
