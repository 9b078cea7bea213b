"""Names of cases, folders and files that are Unicode, control characters, formulae, paths, patterns, or too long."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

import numpy as np

from campaign.sound import SEQUENCES
from campaign.trials import ANY, EITHER, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, strings

PLAIN = (
    "Bär", "患者七", "Пациент-5", "مريض", "naïve café", "🧠scan", "e\u0301te\u0301", "x\u200dy",
    "a b c", "it's", 'say"hi"', "100%", "%s%d%n", "{0}{x}", "%(name)s", "$(touch canary)", "`touch canary`",
    "a;touch canary", "a&b|c", "[abc]", "s*r", "q?", "~root", "#1", "x=y", "(copy)", "a,b", "a:b", "c++",
    "label_9", "mask7", "P3_mask", "Q_label", "seg-12",
    "t1_study", "flair", "Mean", "StdDev", "summary", "CON", "nul", "x.nii", "v1.2.3", "0", "00012", "1e5", "NaN",
    "None",
)  # fmt: skip
FORMULAE = ("=2+5", "+7", "+7*8", "@SUM(A1:A9)", "=HYPERLINK(1)", "=cmd|'C calc'!A0", "-3+4")
MATHTEXT = ("$\\frac{7$", "$", "a$b$c", "$x_$", "$\\undefined$", "{$^$}", "\\alpha$\\sqrt{$", "_{^")
ODD = (
    "two\nlines",
    "bell\x07",
    "\x1b[31mred",
    "tab\there",
    "\u202egnp",
    "end ",
    " start",
    "dot.",
    "under_",
    "-rf",
    "--help",
    "\x7f",
)
CLASHES = ("c1_uncertainty", "c1_probabilities", "C1", ".c1", "..c1", "...")


def bytes_name(rng: np.random.Generator) -> str:
    """Return a name that is no UTF-8."""
    return os.fsdecode(b"caf" + bytes(rng.integers(128, 192, int(rng.integers(1, 4))).astype(np.uint8)))


def drawn_names(rng: np.random.Generator) -> list[tuple[str, str]]:
    """Return names and what is right for each."""
    long = [chr(rng.integers(97, 123)) * int(length) for length in (*rng.integers(180, 243, 6), 241, 242)]
    wide = ["é" * int(length) for length in rng.integers(90, 121, 2)]
    alphabet = list("ab$\\{}^_%&#~=+-@'\"`;|<>()[]!, ")
    mixed = ["x" + "".join(rng.choice(alphabet, 7)) + "y" for _ in range(16)]
    return [
        *((name, RIGHT) for name in (*PLAIN, *FORMULAE)),
        *((name, EITHER) for name in (*MATHTEXT, *mixed)),
        *((name, ANY) for name in (*ODD, *CLASHES, *long, *wide, *(bytes_name(rng) for _ in range(3)))),
    ]


def cases(rng: np.random.Generator) -> Inputs:
    """Name cases so, in predict, evaluate and datalist in turn; each name is met by one that draws or writes it."""
    makers = itertools.cycle((predicted, evaluated, listed, predicted))
    for (name, expect), maker in zip(drawn_names(rng), makers, strict=False):
        yield f"{maker.__name__}, case named {name!r}", maker(name, expect)
        if name in (*MATHTEXT, *FORMULAE) and maker is not predicted:
            yield f"predicted, case named {name!r}", predicted(name, expect)


def predicted(name: str, expect: str) -> Prepare:
    """Return what makes a case of this name, to be segmented with a preview."""

    def prepare(place: Place) -> Plan:
        put_case(place, name)
        sound = place.sound
        others = {} if name.casefold().startswith(("c1", ".")) else {"out/c1.nii.gz": sound.mask("c1")}
        if not others:
            return Plan(place.predict(preview=True), ANY)
        return Plan(place.predict(preview=True), expect, same={f"out/{name}.nii.gz": sound.mask("c2")}, others=others)

    return prepare


def put_case(place: Place, name: str) -> None:
    """Write c1 and, as a case of this name, the files of c2 into ``in``."""
    place.case("c1")
    folder = place.work / "in" / name
    folder.mkdir(parents=True, exist_ok=True)
    for sequence in (*SEQUENCES, "seg"):
        shutil.copyfile(place.sound.file("c2", sequence), folder / f"{name}_{sequence}.nii.gz")


def evaluated(name: str, expect: str) -> Prepare:
    """Return what makes a mask and a reference of this name."""

    def prepare(place: Place) -> Plan:
        place.masks(cases=["c1"])
        (place.work / "in").mkdir()
        shutil.copyfile(place.sound.file("c1", "seg"), place.work / "in/c1_seg.nii.gz")
        shutil.copyfile(place.sound.mask("c2"), place.work / "pred" / f"{name}.nii.gz")
        shutil.copyfile(place.sound.file("c2", "seg"), place.work / "in" / f"{name}_seg.nii.gz")
        lacks = {"out/scores.csv": f"\n{name}"} if name in FORMULAE[:5] else {}
        clean = name.replace("_", "").isalnum() and name.casefold() not in ("c1", "flair", "c1_uncertainty")
        return Plan(place.evaluate(), expect if clean or lacks else ANY, lacks=lacks)

    return prepare


def listed(name: str, expect: str) -> Prepare:
    """Return what makes a data set with a case of this name."""

    def prepare(place: Place) -> Plan:
        place.cohort()
        put_case(place, name)
        return Plan(place.datalist(), expect)

    return prepare


def case_ids(rng: np.random.Generator) -> Inputs:
    """Give names by --case-id that are paths, empty, too long, or hold what no name may."""
    climbs = ["../" * number + "x" for number in (1, 2, 3, 4)]
    bad = [
        *climbs,
        "..",
        ".",
        "",
        "a/b",
        "/",
        "x/",
        "./x",
        "x/../../y",
        "..\\x",
        "\\x",
        "a\\..\\b",
        "ABSOLUTE",
        "CHILD",
    ]
    letters = ["n" * int(length) for length in rng.integers(256, 9000, 3)]
    for name in (*bad, *letters):
        yield f"--case-id {name[:40]!r} of {len(name)}", with_case_id(name, REFUSED)
    for name in ("a\nb", "\x1b[2J", "\udce9", ".hidden", "x\u0000y", " ", "c1.nii.gz", "n" * 240, "n" * 250):
        yield f"--case-id {name[:40]!r} of {len(name)}", with_case_id(name, ANY)
    for name in ("P 7", "größe", "=1+1", "id.2", "a_b-c"):
        yield f"--case-id {name!r}", with_case_id(name, RIGHT)


def with_case_id(name: str, expect: str) -> Prepare:
    """Return what makes a case whose files are given one by one, under this name."""

    def prepare(place: Place) -> Plan:
        place.case("c1", sequences=["flair"])
        given = {"ABSOLUTE": str(place.root / "a/x"), "CHILD": str(Path("out/../deep/x"))}.get(name, name)
        (place.work / "deep").mkdir()
        same = {f"out/{name}.nii.gz": place.sound.mask("c1", ["flair"])} if expect == RIGHT else {}
        arguments = place.predict("--flair", "in/c1/c1_flair.nii.gz", "--case-id", given, source=None, preview=True)
        return Plan(arguments, expect, ("case", "name", "id"), same=same)

    return prepare


def folders(rng: np.random.Generator) -> Inputs:
    """Name the folders of input and output so."""
    names = [name for name, _ in drawn_names(rng) if not name.startswith("-") and len(name) < 100]
    for number, name in enumerate(rng.permutation(names)[:40]):
        yield f"{('input', 'output')[number % 2]} folder {name!r}", in_folder(str(name), number % 2 == 1)


def in_folder(name: str, output: bool) -> Prepare:
    """Return what makes a sound case in, or to be written to, a folder of this name."""

    def prepare(place: Place) -> Plan:
        inside = "in" if output else f"deep/{name}"
        place.case("c1", inside)
        out = f"out/{name}" if output else "out"
        arguments = strings("predict", inside, "-o", out, "--weights", place.sound.weights, "--no-preview")
        hidden = name.startswith(".")
        expect = ANY if hidden or any("\ud800" <= letter <= "\udfff" for letter in name) else RIGHT
        return Plan(arguments, expect, same={f"{out}/c1.nii.gz": place.sound.mask("c1")})

    return prepare


FAMILIES = {"case name": (cases, 140), "case id": (case_ids, 40), "folder name": (folders, 40)}
