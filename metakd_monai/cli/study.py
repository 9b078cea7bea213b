"""``metakd study``: weights on real cases; with a plan, methods that are trained and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import choose_device
from metakd_monai.errors import UserError

NOT_WITH_PLAN = ("trained_on", "compare", "uncertainty", "overwrite")


@click.command()
@click.argument("plan", required=False, type=click.Path(path_type=Path, dir_okay=False), metavar="[PLAN.toml]")
@click.option(
    "--cases",
    multiple=True,
    metavar="DIR[=LABELS]",
    help="A folder of labelled cases, and who drew the labels. Repeatable. With PLAN: one, for the plan's.",
)
@click.option(
    "--datalist", type=click.Path(path_type=Path), help="With PLAN: of metakd datalist, for the plan's cases."
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights (model.pt); default the bundle's. With PLAN: the weights that every training starts from.",
)
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Result folder.")
@click.option("--trained-on", multiple=True, metavar="NAME", help="A case seen in training. Repeatable.")
@click.option(
    "--compare",
    multiple=True,
    metavar="NAME=FILE",
    help="Weights to compare with. Repeatable; files with the same NAME are its seeds.",
)
@click.option("--uncertainty", is_flag=True, help="Measure whether uncertainty is higher where the mask is wrong.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Threads that score. With PLAN: trainings at a time, sharing the cores, or all GPUs in turn.",
)
@click.option("--overwrite", is_flag=True, help="Redo cases that were scored with other weights.")
@click.pass_context
def study(ctx: click.Context, plan: Path | None, **options: Any) -> None:
    """Score weights on real cases in every subset of their sequences, with a report and pictures.

    With PLAN.toml: train methods with several seeds on folds of cases, score the cases left out, and compare, as
    docs/how-to/compare-methods.md says.

    Finished cases and trainings are kept: start it again after an interruption.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    if plan is not None:
        ctx.exit(0 if compare_methods(plan, options) else 1)
    if options.pop("datalist") is not None:
        raise UserError("--datalist: found without a plan; expected --cases DIR, or a plan to carry out")
    if not options["cases"]:
        raise UserError("no cases found; expected --cases DIR, or a plan to carry out")

    from metakd_monai.apps.study import Study, run_study
    from metakd_monai.weights.locate import find_weights

    weights, device = find_weights(options.pop("weights")), choose_device(options.pop("device"))
    with logging_redirect_tqdm():
        all_scored = run_study(Study(weights=weights, device=device, **options))
    click.echo(f"report.md, rows.csv, expected.json, masks and pictures are in {options['output']}")
    ctx.exit(0 if all_scored else 1)


def compare_methods(path: Path, options: dict[str, Any]) -> bool:
    """Carry out a plan; return whether everything is done.

    Raises:
        UserError: for options that have no meaning with a plan, and for impossible trainings, before any starts.
    """
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.arena import read_plan, run_plan
    from metakd_monai.cli.train import check_training, train_method

    given = [name.replace("_", "-") for name in NOT_WITH_PLAN if options[name]]
    if given or len(options["cases"]) > 1:
        raise UserError(
            f"{path}: --{given[0] if given else 'cases twice'} found with a plan; expected --cases DIR at most"
        )
    cases = Path(options["cases"][0]) if options["cases"] else None
    plan = read_plan(path, cases, options["weights"], options["datalist"])
    for method in plan.methods:
        check_training(plan.overlays_of(method), plan.options_of(method))
    output, device = options["output"], choose_device(options["device"])
    with logging_redirect_tqdm():
        done = run_plan(plan, output, train_method, options["jobs"], device)
    if (output / "report.md").is_file():
        click.echo((output / "report.md").read_text(encoding="utf-8"))
    click.echo(f"report.md, tables, pictures and manifest.json are in {output}")
    return done
