"""JSON that somebody else wrote: reports, expected.json, benchmark records, datalists, manifests, of wrong types."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign.sound import CASES
from campaign.trials import ANY, EITHER, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, strings

Json = Any
WRONG: tuple[Json, ...] = (
    None, True, -1, 0, 3.7, 1e308, float("nan"), float("inf"), 10**40, "", "x", "\x00", "../../../escape", "/dev/zero",
    "\ud83d", "a" * 5000, [], [[]], [None], {}, {"a": {}}, [1, "two"], [[[[[[]]]]]],
    "$__import__('os').system('touch canary')",
)  # fmt: skip
TEXTS = (b"", b"{", b"null", b"[]", b'"text"', b"12", b"{}", b"\xff\xfe{\x00}\x00", b"\x00" * 64, b"{'a': 1}",
    b'{"a": 1,}',
         b"NaN", b"[" * 5000, b"\xef\xbb\xbf{}", b'{"settings": null}', b'{"settings": []}',
         b'{"settings": "x"}')  # fmt: skip


def places_in(content: Json, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to everything in JSON but its top."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [found for key, value in pairs for found in ((*path, key), *places_in(value, (*path, key)))]


def spoil(content: Json, rng: np.random.Generator) -> tuple[Json, tuple[Any, ...], str]:
    """Return JSON with one thing removed, or of another type or value; where that is, and what was done, in words."""
    changed = copy.deepcopy(content)
    paths = places_in(changed)
    path = paths[int(rng.integers(len(paths)))]
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if rng.random() < 0.15:
        del parent[path[-1]]
        return changed, path, f"without {show(path)}"
    value = WRONG[int(rng.integers(len(WRONG)))]
    parent[path[-1]] = value
    return changed, path, f"{show(path)} is {json.dumps(value)[:40]}"


def show(path: tuple[Any, ...]) -> str:
    """Return a path in words."""
    return ".".join(map(str, path))


def write_spoilt(place: Place, path: Path, read: Callable[[], Json] | None = None) -> None:
    """Spoil a JSON file in place with the trial's own draws; in a third of all cases it is another text altogether."""
    if place.rng.random() < 0.3:
        path.write_bytes(TEXTS[int(place.rng.integers(len(TEXTS)))])
        return
    content = read() if read else json.loads(path.read_text())
    path.write_text(json.dumps(spoil(content, place.rng)[0]))


def reports(rng: np.random.Generator) -> Inputs:
    """Spoil the report beside a finished mask: it is done again or refused, never taken for done wrongly."""
    for number in range(60):
        yield f"report beside a mask, draw {number}", spoilt_report


def spoilt_report(place: Place) -> Plan:
    """Segment once, spoil the report, segment again."""
    place.case("c1")
    if place.sound.run(place.predict(), place.work):
        raise RuntimeError("the first run failed")
    write_spoilt(place, place.work / "out/c1.json")
    return Plan(place.predict(), EITHER, ("c1",), same={"out/c1.nii.gz": place.sound.mask("c1")})


def sound_expected(place: Place) -> Json:
    """Return a sound expected.json of the small weights."""
    from hashlib import sha256

    dice = {"median": 0.8, "low": 0.7, "high": 0.9, "cases": 9}
    ranges = {"shortest_edge": [0, 9], "longest_edge": [0, 9], "brain_ml": [100, 9000], "brain_share": [0.1, 0.9]}
    return {
        "weights_sha256": sha256(place.sound.weights.read_bytes()).hexdigest(),
        "cases": ["a", "b"],
        "subsets": {"flair+t1+t1ce+t2": {"ET": dice, "TC": dice, "WT": dice}, "flair": {"WT": dice}},
        "training": {"cases": 40, "ranges": ranges},
    }


def expectations(rng: np.random.Generator) -> Inputs:
    """Spoil expected.json beside the weights: the same mask, and perhaps a line."""
    for number in range(60):
        yield f"expected.json, draw {number}", spoilt_expected


def spoilt_expected(place: Place) -> Plan:
    """Lay a spoilt expected.json beside a copy of the weights."""
    place.case("c1")
    (place.work / "w").mkdir()
    (place.work / "w/model.pt").write_bytes(place.sound.weights.read_bytes())
    write_spoilt(place, place.work / "w/expected.json", lambda: sound_expected(place))
    arguments = strings("predict", "in", "-o", "out", "--weights", "w/model.pt", "--no-preview")
    return Plan(arguments, RIGHT, same={"out/c1.nii.gz": place.sound.mask("c1")})


def sound_datalist(place: Place) -> Json:
    """Return a datalist of the sound cases: two to train, one for each other part."""

    def item(case: str) -> Json:
        images = [str(place.sound.file(case, name)) for name in ("flair", "t1", "t1ce", "t2")]
        named = [str(place.case(case) / f"{case}_{Path(path).name.rpartition('_')[2]}") for path in images]
        return {"image": named, "label": named[0].replace("_flair", "_seg"), "case_id": case, "patient": case}

    training = [{**item(case), "fold": fold} for fold, case in enumerate(CASES[1:3])]
    parts = {"training": training, "meta": [item(CASES[3])], "test": [item(CASES[0])], "testing": []}
    return {"name": "sound", **parts, "metakd": {"folds": 2, "seed": 0, "year": None}}


def datalists(rng: np.random.Generator) -> Inputs:
    """Spoil a datalist that benchmark, tune-postprocessing or training is given."""
    for number in range(200):
        command = ("benchmark", "tune-postprocessing", "tune-postprocessing")[number % 3]
        kind = ("anything", "an entry", "another text")[number % 7 // 3]
        yield f"{command}: {kind}, draw {number}", spoilt_datalist(command, kind)


def spoilt_datalist(command: str, kind: str) -> Prepare:
    """Return what spoils a datalist: anything in it, an entry that the command reads, or all of it."""

    def prepare(place: Place) -> Plan:
        part = "test" if command == "benchmark" else "training"
        content, expect = sound_datalist(place), ANY
        if kind == "another text":
            (place.work / "list.json").write_bytes(TEXTS[int(place.rng.integers(len(TEXTS)))])
            expect = REFUSED
        else:
            entry = content[part] if kind == "an entry" else content
            changed, path, words = spoil(entry, place.rng)
            content = {**content, part: changed} if kind == "an entry" else changed
            fewer = words.startswith("without") and path[-1] != "image"  # sequences, which is right
            expect = REFUSED if kind == "an entry" and "image" in path and not fewer else ANY
            (place.work / "list.json").write_text(json.dumps(content))
        arguments = strings(command, "--datalist", "list.json", "--weights", place.sound.weights, "-o", "out")
        return Plan(arguments, expect, ("list.json", "c1", "c2", "c3", "case", "image", "label"))

    return prepare


def benchmark_records(rng: np.random.Generator) -> Inputs:
    """Spoil the record of a case that was scored before."""
    for number in range(24):
        yield f"record of a scored case, draw {number}", spoilt_record


def spoilt_record(place: Place) -> Plan:
    """Score once, spoil the record, score again: the same table, or a refusal."""
    place.case("c1")
    arguments = place.benchmark("--cases", "in")
    if place.sound.run(arguments, place.work):
        raise RuntimeError("the first run failed")
    (record,) = (path for path in (place.work / "out").rglob("c1.json"))
    table = place.root / "plan.table.md"
    table.write_bytes((place.work / "out/table.md").read_bytes())
    write_spoilt(place, record)
    return Plan(arguments, EITHER, ("c1",), same={"out/table.md": table})


def metadata(rng: np.random.Generator) -> Inputs:
    """Spoil the configuration of a bundle that an export carries."""
    for number in range(12):
        yield f"export --bundle, draw {number}", spoilt_bundle


def spoilt_bundle(place: Place) -> Plan:
    """Export with a copy of the bundle's configuration, spoilt."""
    import shutil

    from metakd_monai.bundle.root import bundle_root

    shutil.copytree(Path(bundle_root()) / "configs", place.work / "bundle/configs")
    path = place.work / "bundle/configs" / str(place.rng.choice(["metadata.json", "inference.json"]))
    path.write_bytes(TEXTS[int(place.rng.integers(len(TEXTS)))])
    arguments = strings("export", "--weights", place.sound.weights, "-o", "out/x.ts", "--bundle", "bundle")
    return Plan(arguments, ANY, (path.name, "bundle"))


FAMILIES = {
    "report JSON": (reports, 28),
    "expected JSON": (expectations, 30),
    "datalist JSON": (datalists, 90),
    "benchmark record": (benchmark_records, 18),
    "bundle metadata": (metadata, 10),
}
