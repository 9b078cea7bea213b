"""``metakd demo``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import OWN_PROCESS, choose_device
from metakd_monai.errors import UserError
from metakd_monai.processes.startup import lean_imports
from metakd_monai.vocabulary import REGION_NAMES, Modality, split_regions

GIVEN = {  # by the name of the case on the page
    "all_four_sequences": tuple(Modality),
    "without_T1ce": (Modality.FLAIR, Modality.T1, Modality.T2),
    "FLAIR_alone": (Modality.FLAIR,),
}


@click.command()
@click.option(
    "--output",
    "-o",
    default="metakd_demo",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Result folder.",
)
@click.option("--no-open", is_flag=True, help="Do not open the report, only say where it is.")
@click.pass_context
def demo(ctx: click.Context, output: Path, no_open: bool) -> None:
    """Segment a real case that comes with the package, and open the report: what does a missing sequence change?

    With all four sequences, without T1ce, and with FLAIR alone. No data, no training and no network are needed. The
    weights were not trained on this patient; the Dice is the overlap with the experts' labels.
    """
    with lean_imports(ctx.find_root().obj == OWN_PROCESS):
        from metakd_monai.apps.cohort import predict_cases
    from metakd_monai.apps.report.demo_case import write_demo_case
    from metakd_monai.cli.report import report_folder
    from metakd_monai.cli.view import open_page

    files, reference = write_demo_case(output / "case")
    make, cases, outputs = prepare(files, output)
    failed = predict_cases(make, cases, outputs)
    if failed:
        raise UserError(f"{', '.join(failed)}: not segmented; see above for the reason")
    for case in cases:
        click.echo(f"{case.case_id}: {describe_dice(output / f'{case.case_id}.nii.gz', reference)}")
    report_folder(output, jobs=1)
    page = output / "index.html"
    if no_open or not open_page(page):
        click.echo(f"open {page.absolute()} in a browser, or: metakd view {output}")


def prepare(files: Mapping[Modality, Path], output: Path) -> tuple[Any, list[Any], Any]:
    """Return a function that makes the predictor, the cases, and which outputs to write."""
    from functools import partial

    from metakd_monai.apps.predict.outputs import Outputs
    from metakd_monai.apps.predict.postprocessing import AUTO
    from metakd_monai.apps.predict.predictor import Predictor
    from metakd_monai.data.cases import Case
    from metakd_monai.weights.locate import find_weights

    make = partial(Predictor, find_weights(None).absolute(), device=choose_device("auto"), postprocessing=AUTO)
    cases = [Case(name, {modality: files[modality] for modality in given}) for name, given in GIVEN.items()]
    return make, cases, Outputs(output, overwrite=True, uncertainty=True)


def describe_dice(mask: Path, reference: Any) -> str:
    """Return the Dice of each region of a mask with a label map ``(*S)`` on its grid."""
    from metakd_monai.data.nifti import read_labels
    from metakd_monai.metrics.region_scores import count_overlap

    regions = zip(REGION_NAMES, split_regions(read_labels(mask)), split_regions(reference), strict=True)
    return "Dice " + ", ".join(f"{name} {count_overlap(found, known).dice:.2f}" for name, found, known in regions)
