"""``metakd adni-prepare`` and ``metakd adni-simulate``."""

from __future__ import annotations

from pathlib import Path

import click

from metakd_monai.cli.base import SEED
from metakd_monai.errors import UserError


@click.command("adni-prepare")
@click.argument("raw", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="Folder to write to.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the split and of SMOTE.")
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    help="JSON file with lists of PTIDs named training, validation and testing.",
)
@click.option("--smote/--no-smote", default=True, show_default=True, help="Fill up rare classes of the training part.")
@click.option(
    "--fitted",
    type=click.Path(path_type=Path),
    help="fitted.joblib of another cohort: encode RAW in the same way, all of it for testing, diagnosed or not.",
)
def adni_prepare(raw: Path, output: Path, seed: int, splits: Path | None, smote: bool, fitted: Path | None) -> None:
    """Turn the ADNI downloads in RAW into training, validation and test arrays.

    Tables are recognised by prefix: DXSUM (diagnoses); MEDHIST, NEUROEXM, PTDEMOG, RECCMEDS, VITALS; APOERES,
    UPENNBIOMK_ROCHE_ELECSYS; genotypes as one .bed/.bim/.fam, .raw or GENOMIC*.csv; imaging as IMAGE*.csv, ADNI_G.npy
    with ADNI_subj.txt, or NIfTI maps. A subject without a row in a modality's tables lacks that modality.

    OUTPUT/fitted.joblib is a pickle: read such files only from people you trust.
    """
    require_libraries()
    from metakd_monai.apps.adni import encode_adni, prepare_adni

    if fitted is not None and splits is not None:
        raise UserError("--splits found with --fitted; expected one of them: nothing is split there")
    manifest = prepare_adni(raw, output, seed, splits, smote) if fitted is None else encode_adni(raw, output, fitted)
    for part, counts in manifest["subjects"].items():
        if any(counts.values()):
            click.echo(f"{part}: " + ", ".join(f"{number} {name}" for name, number in counts.items()))
    if manifest["undiagnosed"]:
        click.echo(f"without a diagnosis: {manifest['undiagnosed']}")
    click.echo("missing: " + ", ".join(f"{name} {100 * share:.0f} %" for name, share in manifest["missing"].items()))
    if fitted is None:
        click.echo(
            f"{manifest['synthetic']} synthetic samples (training alone); {manifest['variants']['kept']} variants kept"
        )
    click.echo(f"cohort: {output}")


@click.command("adni-simulate")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--subjects", default=800, show_default=True, help="Number of subjects.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same cohort.")
def adni_simulate(output: Path, subjects: int, seed: int) -> None:
    """Write a simulated cohort in the form of ADNI's downloads. It is not a model of disease."""
    require_libraries()
    from metakd_monai.apps.adni import simulate_adni

    simulate_adni(output, subjects, seed)
    click.echo(f"{subjects} simulated subjects in {output}")


def require_libraries() -> None:
    """Raise UserError without the extra's libraries."""
    try:
        import bed_reader  # noqa: F401
        import imblearn  # noqa: F401
        import pandas  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error.name}: not installed; expected the extra metakd-monai[classification]") from None
