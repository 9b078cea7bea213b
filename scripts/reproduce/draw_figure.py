"""Draw one of the paper's figures of a run of yours: PNG, SVG and a caption that says what was run.

Usage: draw_figure.py fig5a RUN --output DIR            importance over iterations (fig5b: AV-MNIST)
       draw_figure.py fig9 RUN --output DIR             the same, smoothed over 50 updates (ADNI)
       draw_figure.py fig5c RUN --output DIR            losses in training and validation
       draw_figure.py fig6 RUN --output DIR             filled against true features
       draw_figure.py fig1 RUN --case CASE --output DIR        each sequence alone: mask, Dice and importance
       draw_figure.py fig3 STUDY --output DIR           Dice given T1 alone over alpha, and p = 2
       draw_figure.py table6 STUDY --output DIR         Dice for each normalisation
       draw_figure.py fig4 NAME=WEIGHTS ... --case CASE --output DIR [--given t1]    (fig7, fig8: other cases)

RUN is the output folder of a training, STUDY that of metakd study PLAN.toml, CASE a folder with four sequences and a
label map. reproduce_figures.sh makes all of them on simulated cases. Tables 1, 4 and 5: metakd benchmark --compare
paper:table1; Table 2: compare_on_simulated_adni.py; Table 3: reproduce_table3.sh.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from metakd_monai.apps.paper import (
    draw_alpha,
    draw_fill,
    draw_importance,
    draw_losses,
    draw_modalities,
    draw_networks,
    normalization_lines,
)
from metakd_monai.data.cases import Case, find_labelled
from metakd_monai.data.files import write_text
from metakd_monai.errors import UserError

OF_A_RUN: dict[str, Callable[[Path, Path], list[Path]]] = {
    "fig3": draw_alpha,
    "fig5a": draw_importance,
    "fig5b": draw_importance,
    "fig5c": draw_losses,
    "fig6": draw_fill,
    "fig9": lambda run, path: draw_importance(run, path, window=50),
}
OF_NETWORKS = ("fig4", "fig7", "fig8")


def only_case(folder: Path | None) -> Case:
    """Return the one case of a folder."""
    cases = [] if folder is None else find_labelled(folder)
    if len(cases) != 1:
        raise UserError(f"--case: {len(cases)} labelled cases in {folder} found; expected one")
    return cases[0]


def draw(figure: str, sources: list[str], output: Path, case: Path | None, given: str) -> list[Path]:
    """Draw a figure; return its files."""
    path = output / figure
    if figure in OF_NETWORKS:
        networks = {name: Path(file) for name, _, file in (source.partition("=") for source in sources)}
        return draw_networks(networks, only_case(case), path, given)
    if len(sources) != 1:
        raise UserError(f"{figure}: {len(sources)} folders found; expected one")
    folder = Path(sources[0])
    if figure == "fig1":
        return draw_modalities(folder, only_case(case), path)
    if figure == "table6":
        write_text(path.with_suffix(".md"), "\n".join(normalization_lines(folder)) + "\n")
        return [path.with_suffix(".md")]
    return OF_A_RUN[figure](folder, path)


def main() -> int:
    """Draw; 2 when that cannot be done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=sorted({*OF_A_RUN, *OF_NETWORKS, "fig1", "table6"}))
    parser.add_argument("sources", nargs="+", metavar="RUN|STUDY|NAME=WEIGHTS")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--given", default="t1")
    options = parser.parse_args()
    try:
        files = draw(options.figure, options.sources, options.output, options.case, options.given)
    except UserError as error:
        print(f"draw_figure: {error}", file=sys.stderr)
        return 2
    print(", ".join(map(str, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
