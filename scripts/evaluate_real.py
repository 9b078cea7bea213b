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

import numpy as np
import torch
from evidence.compare import Runs
from evidence.pictures import Scene, choose_subsets, draw_case, draw_gallery, make_scene, read_upright, worst_rows
from evidence.report import Content, make_report
from evidence.rows import Evidence, Row, Source, expectations, rows_of

from metakd_monai import __version__
from metakd_monai.benchmark import SubsetPredictor
from metakd_monai.benchmark.cases import Scoring, choose_scoring, read_reference
from metakd_monai.benchmark.items import Items, check_items, labelled_items
from metakd_monai.benchmark.run import score_cases
from metakd_monai.benchmark.subsets import Subset, case_of, name_subset
from metakd_monai.benchmark.tables import write_csv
from metakd_monai.data import files_in
from metakd_monai.files import check_writable, read_nifti, write_json, write_like, write_safely
from metakd_monai.predict import Predictor, to_native
from metakd_monai.transforms import REFERENCE
from metakd_monai.transforms.images import CASE_ID
from metakd_monai.vocabulary import REGION_NAMES, UserError
from metakd_monai.weights import checksum

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
LABELS = {
    "brats_cc-by-nc-sa": "expert",
    "tcga_cc-by": "algorithmic (fusion of five networks)",
}  # who drew the references of a folder of DATA
UNKNOWN = "not said"


class MaskKeeper(SubsetPredictor):
    """A predictor of subsets that also writes its label maps, as ``FOLDER/SUBSET/CASE.nii.gz`` on the case's grid."""

    def __init__(self, predictor: Predictor, folder: Path) -> None:
        super().__init__(predictor)
        self.folder = folder

    def label_maps(self, item: Mapping[str, Any], et_label: int) -> dict[Subset, np.ndarray]:
        """Return what :meth:`SubsetPredictor.label_maps` does, once it is written."""
        maps = super().label_maps(item, et_label)
        meta = item["image"].meta
        affine = read_nifti(meta[REFERENCE]).affine
        for subset, labels in maps.items():
            native = to_native(torch.from_numpy(labels)[None], affine)[..., 0]
            write_like(mask_of(self.folder, name_subset(subset), meta[CASE_ID]), native, meta[REFERENCE])
        return maps


def mask_of(folder: Path, subset: str, case: str) -> Path:
    """Return where the mask of a case from a subset is."""
    return folder / subset / f"{case}.nii.gz"


def find_items(folders: Sequence[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the labelled cases of folders given as ``DIR`` or ``DIR=LABELS``, and who drew the labels by case.

    Raises:
        UserError: when a folder has none, or two cases share a name.
    """
    items: list[dict[str, Any]] = []
    labels: dict[str, str] = {}
    for given in folders:
        name, _, said = given.partition("=")
        found = labelled_items(Path(name))
        known = next((LABELS[part] for part in Path(name).resolve().parts if part in LABELS), UNKNOWN)
        labels |= {str(item["case_id"]): said or known for item in found}
        items += found
    check_items(items)
    return items, labels


def describe_items(
    items: Items, labels: Mapping[str, str], trained_on: Sequence[str], scoring: Scoring
) -> dict[str, Source]:
    """Return what is known of each case that can be read.

    Raises:
        UserError: for a name in ``trained_on`` that is no case.
    """
    unknown = sorted(set(trained_on) - set(labels))
    if unknown:
        raise UserError(f"--trained-on: {unknown[0]!r} found; expected names of cases: {', '.join(labels)}")
    sources = {}
    for item in items:
        name = str(item["case_id"])
        if "problem" not in item:
            masks = read_reference(item, files_in(item["image"])[0], scoring.convention).masks
            there = tuple(region for region, mask in zip(REGION_NAMES, masks, strict=True) if mask.any())
            sources[name] = Source(labels[name], there, name in trained_on)
    return sources


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
        scene = make_scene(predictor.load(case_of(item).as_item()), Path(item["label"]))
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
    notes = [
        f"Weights {arguments.weights.name}, SHA-256 {sha256}; metakd_monai {__version__}.",
        f"Label maps as `metakd predict` writes them, no post-processing; HD95 {scoring.hd95}. Dice from 0 to 1.",
    ]
    runs: Runs = {
        name: [Evidence([row for row in seed if not row.trained_on]) for seed in seeds]
        for name, seeds in compared.items()
    }
    title = f"Every subset of the sequences of {len(evidence.cases)} cases"
    text = make_report(Content(title, notes, evidence, sources, failed, runs, pictures, gallery))
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
