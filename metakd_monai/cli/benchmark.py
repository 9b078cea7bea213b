"""``metakd benchmark`` and ``metakd tune-postprocessing``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import add_options, choice_option, choose_device, mirror_option, window_option
from metakd_monai.cli.evaluate import CONVENTIONS, HD95_KINDS
from metakd_monai.errors import UserError

PARTS = ("test", "validation")
PASSED_ON = ("hd95", "postprocessing", "compare", "compare_method", "jobs", "mirror", "overwrite", "window")


shared_options = add_options(  # of both commands
    click.option("--fold", type=click.IntRange(min=0), default=0, show_default=True, help="Fold of the datalist."),
    click.option("--weights", type=click.Path(path_type=Path), help="Weights (model.pt); default the bundle's."),
    click.option(
        "--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Result folder."
    ),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
    choice_option(
        "--convention",
        ("auto", *CONVENTIONS),
        "auto",
        "Scoring rule; auto: brats2023 for cases of 2023 and later, else brats2020.",
    ),
)


@click.command()
@click.option("--datalist", type=click.Path(path_type=Path), help="Datalist (metakd datalist).")
@click.option("--cases", "folder", type=click.Path(path_type=Path), help="Or: a folder of cases with label maps.")
@click.option("--part", type=click.Choice(PARTS), help="Of the datalist; default test, or validation without a test.")
@shared_options
@click.option("--hd95", type=click.Choice(HD95_KINDS), help="Kind of HD95. Default: that of the rule.")
@click.option(
    "--postprocessing",
    default="small_et:threshold=500,target=1",
    show_default=True,
    help="none, small_et:threshold=500,target=1, components:voxels=50,share=0.0 or metakd. Scores without it are"
    " always reported too.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="A table of the paper (paper:table1, 4 or 5) or another published one (CSV), or another run's folder or CSV.",
)
@click.option("--compare-method", help="Method of the published table.  [default: MetaKD]")
@window_option
@mirror_option
@click.option("--jobs", type=click.IntRange(min=1), help="Threads for scoring; default one for each core, at most 8.")
@click.option("--overwrite", is_flag=True, help="Redo cases that were scored with other settings.")
@click.pass_context
def benchmark(ctx: click.Context, **options: Any) -> None:
    """Score a network on all 15 subsets of the sequences, as in the paper's Table 1.

    Finished cases are kept: run it again after an interruption.
    """
    check_source(options["datalist"], options["folder"])
    if options["compare"] is None and options["compare_method"] is not None:
        raise UserError(f"--compare-method {options['compare_method']}: found without --compare; expected both")

    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.benchmark import choose_items, run_benchmark
    from metakd_monai.weights.locate import find_weights

    items, source = choose_items(options["folder"], options["datalist"], options["part"], options["fold"])
    weights, output = find_weights(options["weights"]), options["output"]
    with logging_redirect_tqdm():
        manifest = run_benchmark(
            items,
            weights,
            output,
            choose_device(options["device"]),
            None if options["convention"] == "auto" else options["convention"],
            source=source,
            **{name: options[name] for name in PASSED_ON},
        )
    click.echo((output / "table.md").read_text(encoding="utf-8"))
    if manifest["comparison"]:
        click.echo((output / "comparison.md").read_text(encoding="utf-8"))
    cases = manifest["cases"]
    before = f" ({cases['resumed']} of them before)" if cases["resumed"] else ""
    click.echo(f"{cases['scored']} of {cases['given']} cases done{before}; results in {output}")
    ctx.exit(1 if cases["failed"] else 0)


@click.command("tune-postprocessing")
@click.option("--datalist", required=True, type=click.Path(path_type=Path), help="Datalist (metakd datalist).")
@shared_options
@click.option(
    "--subsets",
    type=click.Choice(("all", "complete")),
    default="all",
    show_default=True,
    help="Tune on all 15 subsets, or on all sequences together.",
)
@click.option(
    "--target", type=click.IntRange(0, 1), default=1, show_default=True, help="Label that replaces a small ET."
)
@click.pass_context
def tune_postprocessing(ctx: click.Context, **options: Any) -> None:
    """Find the small-ET threshold with the highest mean ET Dice, on the validation cases of a fold."""
    from tqdm.contrib.logging import logging_redirect_tqdm

    from metakd_monai.apps.benchmark import check_apart, choose_items
    from metakd_monai.apps.benchmark import tune_postprocessing as tune
    from metakd_monai.weights.locate import find_weights

    items, source = choose_items("", options["datalist"], "validation", options["fold"])
    check_apart(options["datalist"], items)
    weights, output = find_weights(options["weights"]), options["output"]
    convention = None if options["convention"] == "auto" else options["convention"]
    with logging_redirect_tqdm():
        result = tune(
            items,
            weights,
            output,
            choose_device(options["device"]),
            convention,
            options["subsets"],
            options["target"],
            source,
        )
    dice, cases = result["mean_et_dice"], result["cases"]
    click.echo(f"--postprocessing {result['postprocessing']}")
    click.echo(f"mean ET Dice {100 * dice['with']:.2f} %, without it {100 * dice['without']:.2f} %")
    click.echo(f"{len(cases['used'])} of {len(items)} validation cases used; the curve is in {output}")
    ctx.exit(1 if cases["failed"] else 0)


def check_source(datalist: Path | None, folder: Path | None) -> None:
    """Raise UserError unless exactly one of the two is given."""
    if (datalist is None) == (folder is None):
        given = "neither" if datalist is None else "both"
        raise UserError(f"{given} of --datalist and --cases given; expected one of the two")
