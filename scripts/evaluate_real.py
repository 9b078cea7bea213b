"""Dice and HD95 on real cases for every subset of the sequences that each has, against the aims of the weights.

Usage: evaluate_real.py OUTPUT --weights FILE [--cases DIR[=LABELS] ...] [--trained-on NAME ...]
           [--compare NAME=FILE ...]

Each sequence is encoded once. OUTPUT gets report.md, rows.csv, expected.json (what to expect of a subset), the masks
as masks/SUBSET/CASE.nii.gz and pictures. Finished cases are kept: start it again after an interruption.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evidence.cases import LABELS, MaskKeeper, describe_items, find_items, mask_of
from evidence.compare import Runs
from evidence.doubt import Doubt, doubt_lines, draw_doubt, judge, measure_doubt, picture_name, read_doubt, write_doubt
from evidence.pictures import Scene, choose_subsets, draw_case, draw_gallery, make_scene, read_upright, worst_rows
from evidence.report import Content, make_report
from evidence.rows import Evidence, Row, Source, expectations, rows_of
from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.apps.benchmark import SubsetPredictor
from metakd_monai.apps.benchmark.benchmark_items import Items
from metakd_monai.apps.benchmark.benchmark_run import score_cases
from metakd_monai.apps.benchmark.case_record import Scoring, choose_scoring
from metakd_monai.apps.benchmark.subset_predictor import case_of
from metakd_monai.apps.predict.predictor import Predictor
from metakd_monai.data.files import check_writable, write_json, write_safely
from metakd_monai.data.spreadsheets import write_csv
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality
from metakd_monai.weights.load import checksum

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def evaluate(
    engine: SubsetPredictor,
    items: Items,
    sources: Mapping[str, Source],
    scoring: Scoring,
    folder: Path,
    overwrite: bool,
) -> tuple[list[Row], dict[str, str]]:
    """Score all cases with some weights; return the rows, and why others failed by case."""
    records, failed, _ = score_cases(engine, items, scoring, folder, overwrite)
    return [row for record in records for row in rows_of(record, sources[record["case"]])], failed


def compare_weights(
    given: Sequence[str], main: tuple[str, list[Row]], evaluate_file: Any
) -> dict[str, list[list[Row]]]:
    """Return the rows of other weights by name, one list for each seed; those of the main file are not made again.

    Args:
        given: ``NAME=FILE``; several files of one name are its seeds.
        main: checksum and rows of the main weights.
        evaluate_file: makes the rows of a file.

    Raises:
        UserError: for something else.
    """
    found: dict[str, list[list[Row]]] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not (name and equals and Path(file).is_file()):
            raise UserError(f"--compare: {text!r} found; expected NAME=FILE with a file of weights")
        rows = main[1] if checksum(file) == main[0] else evaluate_file(Path(file))
        found.setdefault(name, []).append(rows)
    return found


def draw(output: Path, predictor: Predictor, items: Items, evidence: Evidence) -> tuple[dict[str, str], str]:
    """Draw every case and the worst of all; return the names of the files."""
    worst = worst_rows(evidence)
    wanted: dict[str, Scene] = {}
    pictures: dict[str, str] = {}
    for item in items:
        case = str(item["case_id"])
        if case not in evidence.cases:
            continue
        loaded = predictor.load(case_of(item).as_item())
        scene = make_scene(loaded["image"].numpy(), loaded["available"].tolist(), read_upright(item["label"]))
        subsets = choose_subsets(evidence.full[case]).values()
        masks = {subset: scene.cut(read_upright(mask_of(output / "masks", subset, case))) for subset in subsets}
        pictures[case] = f"{case}.png"
        draw_case(output / pictures[case], scene, masks, evidence, case)
        if any(row.case == case for row in worst):
            wanted[case] = scene
    scenes = [wanted[row.case] for row in worst]
    maps = [read_upright(mask_of(output / "masks", row.subset, row.case)) for row in worst]
    cuts = [scene.cut(volume) for scene, volume in zip(scenes, maps, strict=True)]
    draw_gallery(output / "failures.png", scenes, cuts, evidence)
    return pictures, "failures.png"


def doubt(arguments: argparse.Namespace, items: Items, evidence: Evidence) -> list[Doubt]:
    """Measure the uncertainty of all cases, from all their sequences and from FLAIR alone where they have more."""
    flair = Modality.FLAIR.value
    everything = Predictor(arguments.weights, arguments.device)
    alone = Predictor(arguments.weights, arguments.device, modalities=[Modality.FLAIR])
    found = []
    for item in tqdm(items, desc="uncertainty", unit="case", disable=None):
        full = evidence.full.get(str(item["case_id"]))
        if full is not None:
            predictors = {full: everything, **({flair: alone} if flair in full.split("+")[:-1] else {})}
            found += [doubt_of(arguments, item, given, predictor) for given, predictor in predictors.items()]
    return found


def doubt_of(arguments: argparse.Namespace, item: Mapping[str, Any], given: str, predictor: Predictor) -> Doubt:
    """Measure and draw the uncertainty of one case from a subset, or take what was recorded."""
    output, sha256 = arguments.output, predictor.settings.weights_sha256
    record = output / "uncertainty" / f"{item['case_id']}_{given}.json"
    found = None if arguments.overwrite else read_doubt(record, sha256)
    if found is None:
        judged = judge(predictor, case_of(item), Path(item["label"]))
        found = measure_doubt(judged)
        draw_doubt(output / picture_name(found.case, given), judged)
        write_doubt(record, found, sha256)
    return found


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, compare, draw and write; return 1 when a case failed.

    Raises:
        UserError: when an argument cannot be used.
    """
    output: Path = arguments.output
    folders = arguments.cases or [str(DATA / name) for name in LABELS if (DATA / name).is_dir()]
    items, labels = find_items(folders)
    scoring = choose_scoring(items, None, None, "none", arguments.jobs)
    sources = describe_items(items, labels, arguments.trained_on, scoring)
    check_writable(output)
    predictor = Predictor(arguments.weights, arguments.device)
    sha256 = predictor.settings.weights_sha256
    keeper = MaskKeeper(predictor, output / "masks")
    rows, failed = evaluate(keeper, items, sources, scoring, output / "cases", arguments.overwrite)
    if not rows:
        raise UserError(f"cases: none of {len(items)} could be scored; {next(iter(failed.values()))}")

    def evaluate_file(file: Path) -> list[Row]:
        engine = SubsetPredictor(Predictor(file, arguments.device))
        folder = output / "compared" / engine.predictor.settings.weights_sha256[:12]
        return evaluate(engine, items, sources, scoring, folder, arguments.overwrite)[0]

    compared = compare_weights(arguments.compare, (sha256, rows), evaluate_file)
    evidence = Evidence(rows)
    write_csv(output / "rows.csv", [Row._fields, *rows])
    write_compared(output / "compared.csv", compared)
    write_json(output / "expected.json", expectations(evidence.only(lambda row: not row.trained_on), sha256))
    pictures, gallery = draw(output, predictor, items, evidence)
    doubts = doubt(arguments, items, evidence) if arguments.uncertainty else []
    if doubts:
        write_csv(output / "uncertainty.csv", [Doubt._fields, *doubts])
    notes = [
        f"Weights {arguments.weights.name}, SHA-256 {sha256}; metakd_monai {__version__}.",
        f"Label maps as `metakd predict` writes them, no post-processing; HD95 {scoring.hd95}. Dice from 0 to 1.",
    ]
    runs: Runs = {
        name: [Evidence([row for row in seed if not row.trained_on]) for seed in seeds]
        for name, seeds in compared.items()
    }
    title = f"Every subset of the sequences of {len(evidence.cases)} cases"
    text = make_report(
        Content(title, notes, evidence, sources, failed, runs, pictures, gallery, doubt_lines(doubts) if doubts else ())
    )
    write_safely(output / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{output / 'report.md'}, {output / 'rows.csv'}, {output / 'expected.json'}")
    return int(bool(failed))


def write_compared(path: Path, compared: Mapping[str, Sequence[Sequence[Row]]]) -> None:
    """Write the rows of other weights, with their name and the number of the seed."""
    lines = [(name, n, *row) for name, seeds in compared.items() for n, rows in enumerate(seeds) for row in rows]
    if lines:
        write_csv(path, [("weights", "seed", *Row._fields), *lines])


def read_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--cases", nargs="+", default=[], metavar="DIR[=LABELS]", help="default: the shared real cases")
    parser.add_argument("--trained-on", nargs="+", default=[], metavar="NAME", help="cases that training saw")
    parser.add_argument("--compare", nargs="+", default=[], metavar="NAME=FILE", help="files of one name are seeds")
    parser.add_argument("--uncertainty", action="store_true", help="is it higher where the mask is wrong?")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1, help="threads that score")
    parser.add_argument("--overwrite", action="store_true", help="do cases again that other weights were tried on")
    return parser.parse_args(given)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        sys.exit(run(read_arguments()))
    except UserError as error:
        sys.exit(f"evaluate_real: {error}")
