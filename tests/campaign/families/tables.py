"""Two folders that do not fit, and tables, lists and archives that are damaged: what the other commands read."""

from __future__ import annotations

import gzip
import itertools
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from campaign.sound import CASES
from campaign.trials import ANY, REFUSED, Inputs, Place, Plan, Prepare, strings

TEXTS: tuple[bytes, ...] = (
    b"", b"\x00" * 99, b"\xff\xfea\x00,\x00", b"a,b\n1", b'"', b'a,"b\nc', b",,,,\n" * 9, b"x" * 300_000,
    b'"' + b"y" * 200_000 + b'"\n1,2',
    b"modalities,region,method,dice_percent\nflair,ET,MetaKD,abc\n",
    b"modalities,region,method,dice_percent\nt9,XX,MetaKD,50\n",
    b"modalities,region,method,dice_percent\nflair,ET,MetaKD,nan\n", b"Grade,BraTS_2020_subject_ID\nHGG\n",
    b"Grade\x00,x\nHGG,c1\n",
    b"PTID,RID\n,\n", b"PTID\n1\n1\n", b"c1\n../../c2\n\nc1\n", b"c1,c2,c3", b"\r\r\rc1\r", b"=1+1\n",
    bytes(range(256)),
)  # fmt: skip


def pairs(rng: np.random.Generator) -> Inputs:
    """Give evaluate folders that do not fit each other."""
    for recipe in PAIRS:
        yield recipe, partial(arrange, recipe=recipe)


def link(place: Place, name: str, source: Path) -> None:
    """Copy a file to a name in the working folder."""
    path = place.work / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read_bytes())


PAIRS: dict[str, tuple[Callable[[Place], object], str]] = {
    "no predictions": (lambda p: (p.work / "pred/c1.nii.gz").unlink(), REFUSED),
    "no references": (lambda p: (p.work / "in/c1_seg.nii.gz").unlink(), REFUSED),
    "a prediction without a reference": (lambda p: link(p, "pred/c9.nii.gz", p.sound.mask("c2")), ANY),
    "a reference without a prediction": (lambda p: link(p, "in/c9_seg.nii.gz", p.sound.file("c2", "seg")), REFUSED),
    "two predictions of one case": (lambda p: link(p, "pred/c1.nii", p.sound.mask("c1")), REFUSED),
    "two references of one case": (lambda p: link(p, "in/x/c1_seg.nii.gz", p.sound.file("c1", "seg")), REFUSED),
    "an image for a prediction": (lambda p: link(p, "pred/c1.nii.gz", p.sound.file("c1", "t1")), REFUSED),
    "an image for a reference": (lambda p: link(p, "in/c1_seg.nii.gz", p.sound.file("c1", "t1")), REFUSED),
    "probabilities beside": (lambda p: link(p, "pred/c1_probabilities.nii.gz", p.sound.file("c1", "t1")), ANY),
    "a hidden file beside": (lambda p: link(p, "pred/._c1.nii.gz", p.sound.weights), ANY),
    "the output is a prediction": (lambda p: link(p, "out/scores.csv", p.sound.mask("c1")), ANY),
}


def arrange(place: Place, recipe: str) -> Plan:
    """Write a sound pair, then what is odd."""
    link(place, "pred/c1.nii.gz", place.sound.mask("c1"))
    link(place, "in/c1_seg.nii.gz", place.sound.file("c1", "seg"))
    put, expect = PAIRS[recipe]
    put(place)
    jobs = ("--jobs", "2") if place.rng.random() < 0.3 else ()
    return Plan(place.evaluate(*jobs), expect, ("c1", "c9", "pred", "in"))


def tables(rng: np.random.Generator) -> Inputs:
    """Spoil the tables and lists that benchmark and datalist read."""
    for text in TEXTS:
        for reader in (compared, graded, followed):
            yield f"{reader.__name__}: {text[:30]!r} of {len(text)}", partial(reader, text=text)


def compared(place: Place, text: bytes) -> Plan:
    """Compare with a published table."""
    place.case("c1")
    (place.work / "table.csv").write_bytes(text)
    return Plan(place.benchmark("--cases", "in", "--compare", "table.csv"), REFUSED, ("table.csv",))


def graded(place: Place, text: bytes) -> Plan:
    """Read grades from name_mapping.csv."""
    place.cohort()
    (place.work / "in/name_mapping.csv").write_bytes(text)
    return Plan(place.datalist(), ANY, ("name_mapping.csv",))


def followed(place: Place, text: bytes) -> Plan:
    """Follow published lists of cases."""
    place.cohort()
    for name in ("train", "val"):
        link(place, f"splits/{name}.txt", place.sound.weights)
        (place.work / f"splits/{name}.txt").write_bytes(text)
    return Plan(place.datalist("--splits", "splits"), REFUSED, ("splits", "train", "val", "c1", "c2"))


def uploads(rng: np.random.Generator) -> Inputs:
    """Give submission masks and places that a server, or a disk, would refuse."""
    for number in range(40):
        yield f"submission, draw {number}", uploaded


def uploaded(place: Place) -> Plan:
    """Draw a year, an output, names, and whether to force and to overwrite."""
    rng, year = place.rng, str(place.rng.choice(["2018", "2020", "2021", "2023"]))
    place.cohort(cases=CASES[:2])
    folder = place.masks()
    name = str(
        rng.choice(["c1_seg.nii.gz", "x.nii.gz", "=1+1.nii.gz", "c1.nii", "c3.nii.gz", "bär.nii.gz", "c1 .nii.gz"])
    )
    (folder / name).write_bytes(place.sound.mask("c1").read_bytes()[: int(rng.integers(10, 9000))])
    output = str(
        rng.choice(["out/up", "out/up.zip", "out/UP.ZIP", "in", "in/c1/c1_seg.nii.gz", "out/a/b/c.zip", "pred"])
    )
    arguments = strings("submission", "pred", "--inputs", "in", "--year", year, "-o", output)
    arguments += [flag for flag in ("--force", "--overwrite") if rng.random() < 0.3]
    inside = output.startswith("out")
    return Plan(arguments if inside else [a for a in arguments if a not in ("--force", "--overwrite")], REFUSED)


def sources(rng: np.random.Generator) -> Inputs:
    """Damage MNIST's idx files, and the archive of recordings, for avmnist."""
    for number in itertools.count():
        what = ("an idx file", "the archive", "its names", "a recording")[number % 4]
        yield f"avmnist: {what}, draw {number}", damaged_sources(what)


def damaged_sources(what: str) -> Prepare:
    """Return what makes small sources of AV-MNIST of which one is damaged."""

    def prepare(place: Place) -> Plan:
        rng = place.rng
        (place.work / "mnist").mkdir()
        for part, count in (("train", 40), ("t10k", 20)):
            images = struct.pack(">4i", 0x803, count, 28, 28) + rng.bytes(count * 784)
            labels = struct.pack(">2i", 0x801, count) + bytes(n % 10 for n in range(count))
            for name, data in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
                bad = what == "an idx file" and part == "train" and (rng.random() < 0.5) == ("images" in name)
                cut = data[: int(rng.integers(len(data)))]
                content = (
                    data
                    if not bad
                    else [cut, b"\x00" * 9, struct.pack(">4i", 0x803, 2**31 - 1, 2**31 - 1, 9)][rng.integers(3)]
                )
                (place.work / "mnist" / f"{name}.gz").write_bytes(gzip.compress(content, 1))
        names = ["../../evil.wav", "/abs.wav", "0_a_0.wav", "x_y_z.wav", "99_b_1.wav", ".wav", "0_a_-1.wav"]
        with zipfile.ZipFile(place.work / "fsdd.zip", "w") as archive:
            for name in names if what == "its names" else names[2:3]:
                archive.writestr(name, rng.bytes(300) if what == "a recording" else b"RIFF" + bytes(40))
        if what == "the archive":
            data = (place.work / "fsdd.zip").read_bytes()
            (place.work / "fsdd.zip").write_bytes(data[: int(rng.integers(len(data)))])
        arguments = strings("avmnist", "--mnist", "mnist", "--fsdd", "fsdd.zip", "-o", "out")
        return Plan([*arguments, "--unchecked"] if rng.random() < 0.7 else arguments, REFUSED)

    return prepare


def cohorts(rng: np.random.Generator) -> Inputs:
    """Damage the tables of a cohort for adni-prepare."""
    for number in range(40):
        yield f"adni-prepare, draw {number}", damaged_cohort


def damaged_cohort(place: Place) -> Plan:
    """Simulate a small cohort and damage one of its files."""
    import shutil

    shutil.copytree(place.sound.adni(), place.work / "raw")
    files = sorted(path for path in (place.work / "raw").rglob("*") if path.is_file())
    path = files[int(place.rng.integers(len(files)))]
    data = path.read_bytes()
    texts = [
        b"",
        data[: len(data) // 3],
        TEXTS[int(place.rng.integers(len(TEXTS)))],
        place.rng.bytes(500),
        data.replace(b",", b";"),
    ]
    path.write_bytes(texts[int(place.rng.integers(len(texts)))])
    return Plan(strings("adni-prepare", "raw", "-o", "out"), ANY, seconds=60)


FAMILIES = {
    "evaluate, folders": (pairs, 11),
    "table": (tables, 63),
    "submission": (uploads, 30),
    "avmnist": (sources, 16),
    "adni": (cohorts, 12),
}
