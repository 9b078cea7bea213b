"""Raw scans: records of preparations that are none, masks that belong to no case, options and inputs that cannot be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from campaign.trials import ANY, REFUSED, Inputs, Place, Plan, Prepare, save, shuffled

UNIT = np.eye(4).tolist()
CASE_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
FLAT = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
JUNK: Sequence[Any] = (None, True, "x", [], {}, -1, float("nan"), [[1, 2], [3, 4]], FLAT, [["a"] * 4] * 4, 10**400)
PLACES = (("case_to_centre",), ("series",), ("series", "flair"), ("series", "flair", "affine"),
    ("series", "flair", "centre_to_series"), ("series", "flair", "shape"))  # fmt: skip
SHAPES = ([0, 20, 20], [-5, 20, 20], [20, 20], [20, 20, 20, 20], ["a", 2, 3], [10**7, 10**7, 10**7])
TEXTS = ("", "{", "[]", "null", "\x00", '{"series": {}}', "NaN", "[" * 5000, '{"case_to_centre": 1, "series": []}')
GRID = (240, 240, 155)
OPTIONS = {
    "--strip": ("bet", "", "HDBET "), "--centre": ("t3", "", "flair,t1"), "--jobs": ("0", "-1", "x", "nan"),
    "--series": ("", "t1ce", "t3=1.2", "=1.2", "t1=", "t1ce=1.2.3"), "--brain-mask": ("nowhere.nii.gz", "in", "\x00"),
    "--template": ("nowhere.nii.gz", "in", "x" * 4000, "in/c1/c1_t1.nii.gz.x"), "--names": ("nowhere.toml", "in"),
    "--weights": ("x",),
}  # fmt: skip
SOURCES = ("nowhere", "", "x" * 5000, "\x00", "in/c1/c1_t1.nii.gz/x", "/proc/self/cmdline", "empty", "~", "-")


def record() -> dict[str, Any]:
    """Return a sound record of a preparation."""
    affine = [[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 5.0, 2.0], [0, 0, 0, 1]]
    series = {"shape": [240, 240, 31], "affine": affine, "centre_to_series": UNIT, "file": None}
    return {"case_to_centre": UNIT, "series": {"flair": series}}


def back(place: Place, text: str, *more: str) -> list[str]:
    """Write a record and a mask; return the command that carries the mask."""
    (place.work / "case").mkdir(parents=True)
    (place.work / "case" / "transforms.json").write_text(text)
    save(
        place.work / "m.nii.gz",
        np.zeros(GRID, np.uint8),
        np.array([[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    )
    return ["back", "m.nii.gz", "--case", "case", "-o", "out", *more]


def records(rng: np.random.Generator) -> Inputs:
    """Put junk into each place of a record, or write none."""
    made: list[tuple[str, Prepare]] = [(f"record {text[:20]!r}", partial(with_text, text=text)) for text in TEXTS]
    for keys in PLACES:
        made += [(f"{'.'.join(keys)} is {value!r:.20}", partial(with_junk, keys=keys, value=value)) for value in JUNK]
    made += [(f"shape {shape}", partial(with_junk, keys=PLACES[-1], value=shape)) for shape in SHAPES]
    yield from shuffled(rng, made)


def with_text(place: Place, text: str) -> Plan:
    """Write this text for a record."""
    return Plan(back(place, text), REFUSED, ("transforms.json", "case: no series"))


def with_junk(place: Place, keys: Sequence[str], value: Any) -> Plan:
    """Write a record with something else at one place."""
    content = record()
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return Plan(back(place, json.dumps(content)), REFUSED, ("transforms.json", "case: no series"))


def masks(rng: np.random.Generator) -> Inputs:
    """Carry what is no mask of the case, or onto a series that there is not."""
    text = json.dumps(record())
    lines = ("--to t1", "--to x", "--inverse", "--inverse --to flair", "--inverse --to t2", "--case nowhere",
        "-o m.nii.gz", "-o case/transforms.json")  # fmt: skip
    made: list[tuple[str, Prepare]] = [(f"back {line}", partial(with_line, text=text, line=line)) for line in lines]
    shapes = ((20, 20, 20), (240, 240), (240, 240, 155, 2), (240, 240, 154))
    made += [(f"a mask of {shape}", partial(with_mask, text=text, shape=shape)) for shape in shapes]
    made += [(f"mask {name[:20]!r}", partial(with_name, text=text, name=name)) for name in SOURCES]
    yield from shuffled(rng, made)


def with_line(place: Place, text: str, line: str) -> Plan:
    """Carry with these options too."""
    return Plan(back(place, text, *line.split()), REFUSED)


def with_mask(place: Place, text: str, shape: tuple[int, ...]) -> Plan:
    """Carry a mask of another shape."""
    arguments = back(place, text)
    save(place.work / "m.nii.gz", np.zeros(shape, np.uint8), np.diag([-1.0, -1, 1, 1]))
    return Plan(arguments, REFUSED, ("m.nii.gz",))


def with_name(place: Place, text: str, name: str) -> Plan:
    """Carry what lies elsewhere, or nowhere."""
    (place.work / "empty").mkdir(parents=True)
    arguments = back(place, text)
    return Plan([arguments[0], name, *arguments[2:]], REFUSED)


def options(rng: np.random.Generator) -> Inputs:
    """Give prepare and predict --raw options and inputs that cannot be."""
    made: list[tuple[str, Prepare]] = []
    for command in ("prepare", "predict --raw"):
        for option, values in OPTIONS.items():
            for value in values:
                tried = partial(prepare, command, option=option, value=value)
                made.append((f"{command} {option} {value[:20]!r}", tried))
        made += [(f"{command} of {source[:20]!r}", partial(prepare, command, source=source)) for source in SOURCES]
    yield from shuffled(rng, made)


def prepare(command: str, place: Place, source: str = "in", option: str = "", value: str = "") -> Plan:
    """Prepare a sound case with one more option, or another input."""
    place.case("c1")
    (place.work / "empty").mkdir(parents=True)
    harmless = option == "--template" and not value
    given = [option, value] if option else []
    return Plan([*command.split(), source, "-o", "out", *given], ANY if harmless else REFUSED)


FAMILIES = {"raw record": (records, 60), "raw mask": (masks, 20), "raw option": (options, 50)}
