"""Links, loops, pipes, devices, folders for files and files for folders, and what may not be read or written."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from campaign.sound import CASES
from campaign.trials import ANY, EITHER, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, shuffled, strings

Put = Callable[[Path, Place], object]  # puts something odd at a path that is not there yet


def put_socket(path: Path, _: Place) -> None:
    """Put a socket there; its path must be short."""
    here = os.getcwd()
    os.chdir(path.parent)
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(here)


def put_chain(path: Path, _: Place) -> None:
    """Put a chain of links there that is longer than Linux follows."""
    for number in range(60):
        path.with_name(f"link{number}").symlink_to(f"link{number + 1}")
    path.symlink_to("link0")


THINGS: dict[str, Put] = {
    "a folder": lambda path, _: path.mkdir(),
    "a FIFO": lambda path, _: os.mkfifo(path),
    "a socket": put_socket,
    "a dangling link": lambda path, _: path.symlink_to("nowhere"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a chain of 60 links": put_chain,
    "a link to /dev/zero": lambda path, _: path.symlink_to("/dev/zero"),
    "a link to /dev/null": lambda path, _: path.symlink_to("/dev/null"),
    "a link to /dev/urandom": lambda path, _: path.symlink_to("/dev/urandom"),
    "a link to /dev/stdin": lambda path, _: path.symlink_to("/dev/stdin"),
    "a link to /proc/self/mem": lambda path, _: path.symlink_to("/proc/self/mem"),
    "an empty file": lambda path, _: path.touch(),
    "a sparse file of 3 TB": lambda path, _: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 3 * 2**40),
    "a text": lambda path, _: path.write_text("see the other folder\n"),
}


def inputs(rng: np.random.Generator) -> Inputs:
    """Put each thing where a file is read: a sequence, a label map, weights, a datalist, a table, a list of splits."""
    readers = (as_sequence, as_label, as_weights, as_datalist, as_mask, as_mapping, as_beside, as_splits)
    made = ((f"{r.__name__[3:]} is {recipe}", partial(r, put=put)) for recipe, put in THINGS.items() for r in readers)
    yield from shuffled(rng, made)


def as_sequence(place: Place, put: Put) -> Plan:
    """A sequence of one of two cases."""
    place.cohort(cases=CASES[:2])
    path = place.work / "in/c1/c1_t2.nii.gz"
    path.unlink()
    put(path, place)
    return Plan(place.predict(), EITHER, ("c1",), others={"out/c2.nii.gz": place.sound.mask("c2")},
                same={"out/c1.nii.gz": place.sound.mask("c1", ["flair", "t1", "t1ce"])})  # fmt: skip


def as_label(place: Place, put: Put) -> Plan:
    """A label map in a data set."""
    place.cohort()
    path = place.work / "in/c1/c1_seg.nii.gz"
    path.unlink()
    put(path, place)
    return Plan(place.datalist(), EITHER, ("c1",), lacks={"out/list.json": "c1_seg"})


def as_weights(place: Place, put: Put) -> Plan:
    """Weights, of each kind."""
    place.case("c1")
    name = f"w{place.rng.choice(['.pt', '.ts', '.onnx', '.pt2'])}"
    put(place.work / name, place)
    return Plan(strings("predict", "in", "-o", "out", "--weights", name), REFUSED, (name,))


def as_datalist(place: Place, put: Put) -> Plan:
    """A datalist."""
    put(place.work / "list.json", place)
    return Plan(place.benchmark("--datalist", "list.json"), REFUSED, ("list.json",))


def as_mask(place: Place, put: Put) -> Plan:
    """A prediction."""
    place.masks(cases=[CASES[1]])
    place.cohort(cases=CASES[:2])
    put(place.work / "pred/c1.nii.gz", place)
    return Plan(place.evaluate(), REFUSED, ("c1",))


def as_mapping(place: Place, put: Put) -> Plan:
    """BraTS 2020's table of grades."""
    place.cohort()
    put(place.work / "in/name_mapping.csv", place)
    return Plan(place.datalist(), ANY, ("name_mapping",))


def as_beside(place: Place, put: Put) -> Plan:
    """expected.json beside the weights: the mask does not depend on it."""
    place.case("c1")
    (place.work / "w").mkdir()
    (place.work / "w/model.pt").write_bytes(place.sound.weights.read_bytes())
    put(place.work / "w/expected.json", place)
    arguments = strings("predict", "in", "-o", "out", "--weights", "w/model.pt", "--no-preview")
    return Plan(arguments, RIGHT, same={"out/c1.nii.gz": place.sound.mask("c1")})


def as_splits(place: Place, put: Put) -> Plan:
    """A published list of cases."""
    place.cohort()
    (place.work / "splits").mkdir()
    (place.work / "splits/val.txt").write_text("c2\n")
    put(place.work / "splits/train.txt", place)
    return Plan(place.datalist("--splits", "splits"), REFUSED, ("train", "splits", "c1"))


def outputs(rng: np.random.Generator) -> Inputs:
    """Put each thing where something is written: nothing behind a link is changed."""
    names = (
        "c1.nii.gz",
        "c1.json",
        ".c1.nii.gz.unfinished",
        "",
        ".999999.c1.nii.gz",
        ".99999999999999999999.c1.json",
        "scores.csv",
    )
    made = ((f"out/{name} is {recipe}", in_the_way(name, put)) for name in names for recipe, put in THINGS.items())
    yield from shuffled(rng, ((recipe, prepare) for recipe, prepare in made if "sparse" not in recipe))


def in_the_way(name: str, put: Put) -> Prepare:
    """Return what puts something where predict, or evaluate, writes."""

    def prepare(place: Place) -> Plan:
        out = place.work / "out"
        if name:
            out.mkdir()
        put(out / name if name else out, place)
        if name == "scores.csv":
            place.masks()
            place.cohort(cases=CASES[:2])
            return Plan(place.evaluate(), ANY)
        place.case("c1")
        same = {"out/c1.nii.gz": place.sound.mask("c1")}
        return Plan(place.predict("--overwrite"), EITHER, same=same)

    return prepare


def loop(place: Place, number: int) -> None:
    """Put links to folders above into the input."""
    for n in range(number):
        (place.work / f"in/loop{n}").symlink_to((".", "..", "c1", "../in")[n % 4])


TREES: dict[str, Callable[[Place], object]] = {
    "one link to the folder itself": lambda place: loop(place, 1),
    "two links to folders above": lambda place: loop(place, 2),
    "four links to folders above and beside": lambda place: loop(place, 4),
    "folders 300 deep": lambda place: (place.work / "in" / "/".join(["d"] * 300)).mkdir(parents=True),
    "folders 1,500 deep": lambda place: deepen(place.work / "in", 1500),
    "2,000 empty folders": lambda place: list(map(os.mkdir, (place.work / f"in/e{n}" for n in range(2000)))),
    "a case given twice by a link": lambda place: (place.work / "in/again").symlink_to("c1"),
    "litter of other systems": lambda place: [
        (place.work / "in/c1" / name).write_bytes(b"x" * 300)
        for name in ("._c1_t1.nii.gz", ".DS_Store", "Thumbs.db", "c1_t1.nii.gz~", "#c1_t1.nii.gz#", "c1_t1.nii.gz.part")
    ],
    "a FIFO among the cases": lambda place: os.mkfifo(place.work / "in/pipe.nii.gz"),
    "a file among the case folders": lambda place: (place.work / "in/notes.txt").write_text("x"),
}


def deepen(folder: Path, levels: int) -> None:
    """Make folders in each other, deeper than a path may be long."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


def trees(rng: np.random.Generator) -> Inputs:
    """Lay odd things among the folders of cases: the sound case is done all the same."""
    for recipe, lay in TREES.items():
        for command in ("predict", "datalist", "benchmark"):
            yield f"{command}: {recipe}", in_tree(lay, command)


def in_tree(lay: Callable[[Place], object], command: str) -> Prepare:
    """Return what lays something among the cases."""

    def prepare(place: Place) -> Plan:
        if command == "datalist":
            place.cohort()
            lay(place)
            return Plan(place.datalist(), ANY)
        place.case("c1")
        lay(place)
        if command == "benchmark":
            return Plan(place.benchmark("--cases", "in"), ANY)
        return Plan(place.predict(), RIGHT, same={"out/c1.nii.gz": place.sound.mask("c1")})

    return prepare


FAMILIES = {"odd input file": (inputs, 72), "odd output file": (outputs, 52), "odd folders": (trees, 30)}
