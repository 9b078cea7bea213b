"""What is usual: measure hundreds of cases, write the ranges into expected.json, and count false alarms and finds.

Usage: calibrate_expectations.py APPEARANCES.jsonl [--atlas DIR] [--real DIR] [--simulated 300] [--spacing 2]
           [--seed 4242] [--cases FOLDER ...] [--weights models/model.pt]

Simulated cases are those of the training (metakd_monai.apps.simulation.training) without the ones that are scanned in
part, which a user is to be told of. APPEARANCES.jsonl keeps a line for each case: start it again after an interruption.
Cases of FOLDERs are measured by their images alone. Half of all cases make ranges that the others are tried against,
and the other way round; what is written, with --weights, are the ranges of all. Simulated cases say nothing about the
edges of voxels.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from metakd_monai.apps.predict.appearance import Appearance, measure_appearance, part_of
from metakd_monai.apps.predict.expectations import FILE, read_expectations
from metakd_monai.apps.predict.input_checks import Ranges, find_unusual, merge_appearances
from metakd_monai.apps.simulation.training import load_anatomies, scan, simulate
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum, read_json, write_json
from metakd_monai.data.stream import seed_of
from metakd_monai.errors import UserError
from metakd_monai.transforms import LoadImageModalitiesd
from metakd_monai.vocabulary import Modality, modality_subsets

GAIN = 400  # of white matter, as in files
EDGES = ("shortest_edge", "longest_edge")
HALVES = (0, 1)
SUBSETS = "as they are, every subset of the sequences"
Appearances = dict[str, Appearance]  # by what was changed; "" for the case as it is
Record = dict[str, Any]  # name, simulated, appearances


def change(image: Tensor, available: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield an image ``(N, *S)`` as it is, and as a user would wish to be warned of."""
    yield "", image
    yield "lower half not scanned", cut(image, 0.5)
    yield "lower third not scanned", cut(image, 1 / 3)
    for modality, there in zip(Modality, available.tolist(), strict=True):
        if there:
            yield f"{modality.value} reversed", at(modality, image, reverse)
            if int(available.sum()) > 1:
                yield f"{modality.value} scanned to two thirds", at(modality, image, lambda one: cut(one, 1 / 3))
    t1, t1ce = (list(Modality).index(m) for m in (Modality.T1, Modality.T1CE))
    if bool(available[t1] & available[t1ce]):
        order = list(range(len(image)))
        order[t1], order[t1ce] = t1ce, t1
        yield "t1 and t1ce exchanged", image[order]


def at(modality: Modality, image: Tensor, function: Any) -> Tensor:
    """Return an image ``(N, *S)`` with one sequence changed."""
    index = list(Modality).index(modality)
    return torch.cat([image[:index], function(image[index : index + 1]), image[index + 1 :]])


def reverse(image: Tensor) -> Tensor:
    """Return ``(1, *S)`` with dark and bright exchanged inside the brain."""
    return torch.where(image == 0, 0, image.max() + 1 - image)


def cut(image: Tensor, share: float) -> Tensor:
    """Return ``(N, *S)`` without the lower part of the brain."""
    slices = (image != 0).flatten(0, -2).any(dim=0).nonzero().flatten()
    low, high = int(slices[0]), int(slices[-1]) + 1
    out = image.clone()
    out[..., : low + round(share * (high - low))] = 0
    return out


def simulate_cases(options: argparse.Namespace, known: set[str]) -> Iterator[Record]:
    """Simulate and measure cases that are not known yet."""
    names = [f"simulated {options.seed} {number} {options.spacing:g} mm" for number in range(options.simulated)]
    waiting = [(number, name) for number, name in enumerate(names) if name not in known]
    if not waiting:
        return
    scan.PARTLY_SCANNED = 0.0
    anatomies = load_anatomies(options.spacing, options.atlas, options.real)
    every = torch.ones(len(Modality), dtype=torch.bool)
    for number, name in tqdm(waiting, desc="simulating", disable=None):
        images, _ = simulate(seed_of(options.seed, number), anatomies, options.spacing)
        image = (images * GAIN).round().clamp(0, 32767)
        affine = np.diag([*[options.spacing] * 3, 1.0])
        appearances = {what: measure_appearance(one, every, affine) for what, one in change(image, every)}
        yield {
            "name": name,
            "simulated": True,
            "appearances": {what: without_edges(appearance) for what, appearance in appearances.items()},
        }


def without_edges(appearance: Appearance) -> Appearance:
    """Return a appearance that says nothing about the edges of voxels."""
    return {name: value for name, value in appearance.items() if name not in EDGES}


def read_cases(folders: Sequence[Path], known: set[str]) -> Iterator[Record]:
    """Measure the cases of folders that are not known yet."""
    load: Any = LoadImageModalitiesd(modalities=tuple(Modality))
    waiting = [case for folder in folders for case in find_cases(folder) if case.case_id not in known]
    for case in tqdm(waiting, desc="measuring", disable=None):
        item = load(case.as_item())
        image, available = item["image"].as_tensor().float(), item["available"]
        affine = item["image"].affine
        appearances = {what: measure_appearance(one, available, affine) for what, one in change(image, available)}
        yield {"name": case.case_id, "simulated": False, "appearances": appearances}


def collect(options: argparse.Namespace) -> list[Record]:
    """Measure what is to be measured, and return all that is known."""
    records = (
        [json.loads(line) for line in options.appearances.open(encoding="utf-8")]
        if options.appearances.exists()
        else []
    )
    known = {record["name"] for record in records}
    for source in (simulate_cases(options, known), read_cases(options.cases, known)):
        for record in source:
            with options.appearances.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            records.append(record)
    return records


def usual_appearance(record: Record, edges: Appearance) -> Appearance:
    """Return the appearance of a case as it is, with the edges of voxels that images of the weights have."""
    return {**edges, **record["appearances"][""]}


def warned_of(record: Record, what: str, edges: Appearance, ranges: Ranges) -> list[bool]:
    """Return whether there is any warning of a case that was changed in some way; nothing where it cannot be."""
    appearances: Appearances = record["appearances"]
    if what != SUBSETS:
        return [bool(find_unusual({**edges, **appearances[what]}, ranges))] if what in appearances else []
    appearance = usual_appearance(record, edges)
    there = [m for m in Modality if f"{m.value}_skew" in appearance]
    subsets = [[m.value for m in subset] for subset in modality_subsets(there)]
    return [bool(find_unusual(part_of(appearance, names), ranges)) for names in subsets]


def report(records: Sequence[Record], edges: Appearance) -> None:
    """Print how often there is a warning where there should be none, and where there should be one."""
    appearances = [usual_appearance(record, edges) for record in records]
    ranges = [
        merge_appearances(appearances[1 - half :: 2])["ranges"] for half in HALVES
    ]  # each half's, of the other one
    changes = sorted({what for record in records for what in record["appearances"]} - {""})
    print("| warned of | cases | rate |\n|---|--:|--:|")
    for kind in ("simulated", "real"):
        simulated = kind == "simulated"
        group = [(number % 2, record) for number, record in enumerate(records) if record["simulated"] == simulated]
        for what in ("", SUBSETS, *changes):
            found = [one for half, record in group for one in warned_of(record, what, edges, ranges[half])]
            if found:
                share = sum(found) / len(found)
                print(f"| {kind}, {what or 'as they are'} | {sum(found)} of {len(found)} | {share:.1%} |")


def write_ranges(weights: Path, appearances: Sequence[Appearance]) -> None:
    """Put the ranges into ``expected.json`` beside weights; raises UserError for a file of other weights."""
    path, sha256 = weights.with_name(FILE), checksum(weights)
    content = read_json(path, "what metakd_monai.apps.predict.expectations describes") if path.is_file() else {}
    if content.get("weights_sha256", sha256) != sha256:
        raise UserError(f"{path}: about other weights; expected {sha256}")
    write_json(path, {**content, "weights_sha256": sha256, "training": merge_appearances(appearances)})
    print(f"{path}: {len(read_expectations(weights, sha256).ranges)} ranges of {len(appearances)} cases")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("appearances", type=Path)
    parser.add_argument("--atlas", type=Path)
    parser.add_argument("--real", type=Path, help="labelled cases that the simulator draws from, as in training")
    parser.add_argument("--simulated", type=int, default=300)
    parser.add_argument("--spacing", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=4242)
    parser.add_argument("--cases", type=Path, nargs="+", default=[], help="folders of real cases; labels are not read")
    parser.add_argument("--weights", type=Path, help="whose expected.json gets the ranges")
    options = parser.parse_args(arguments)
    try:
        records = collect(options)
        measured = [record["appearances"][""] for record in records if not record["simulated"]]
        edges = {name: measured[0][name] for name in EDGES} if measured else dict.fromkeys(EDGES, options.spacing)
        report(records, edges)
        if options.weights:
            write_ranges(options.weights, [usual_appearance(record, edges) for record in records])
    except UserError as error:
        print(f"calibrate_expectations: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
