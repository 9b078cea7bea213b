"""Real processes: killed and started again, on a full disk, at once in one folder, in odd surroundings."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from campaign.disk import small_disk
from campaign.real import LIMIT, Found, compare_folders, finish, launch, orphans, run_whole, start
from campaign.runner import entries_below
from campaign.sound import CASES, copy
from campaign.trials import Inputs, Place, Plan, Prepare, strings
from campaign.verdicts import TRACEBACK, differs, last_line
from campaign.zygote import has_train


def commands(place: Place) -> dict[str, list[str]]:
    """Write sound inputs and return a command line of each command that writes to ``out``, which may be run again."""
    from campaign.families.training import train

    place.cohort()
    place.masks(cases=CASES)
    for number, case in enumerate(CASES):
        copy(place.sound.mask(case), place.work / f"up/pred/BraTS2021_{number:05d}.nii.gz")
        copy(
            place.sound.file(case, "t1"), place.work / f"up/in/BraTS2021_{number:05d}/BraTS2021_{number:05d}_t1.nii.gz"
        )
    weights = place.sound.weights
    found = {
        "predict": place.predict(),
        "predict --jobs 2": place.predict("--jobs", 2),
        "evaluate": strings("evaluate", "pred", "in", "-o", "out/scores.csv", "--jobs", 2),
        "benchmark": place.benchmark("--cases", "in"),
        "datalist": place.datalist(),
        "simulate": strings("simulate", "out", "--cases", 6, "--shape", "48,48,48", "--spacing", 4, "--overwrite"),
        "submission": strings(
            "submission", "up/pred", "--inputs", "up/in", "--year", 2021, "-o", "out/up.zip", "--force", "--overwrite"
        ),
        "export": strings("export", "--weights", weights, "-o", "out/model.ts"),
    }
    return found | ({"train": train("--max_iterations", "6")} if has_train() else {})


NAMES = (
    "predict",
    "predict --jobs 2",
    "evaluate",
    "benchmark",
    "datalist",
    "simulate",
    "submission",
    "export",
    "train",
)


def act(action: Callable[[Place, Found], None]) -> Prepare:
    """Return what makes a plan of an action."""

    def prepare(place: Place) -> Plan:
        found: Found = []

        def run() -> Found:
            action(place, found)
            return found

        return Plan(action=run, is_action=True, seconds=4 * LIMIT)

    return prepare


def kills(rng: np.random.Generator) -> Inputs:
    """Send SIGKILL, SIGTERM or SIGINT at a random moment, to the process or to its group; then start again."""
    while True:
        for name in NAMES:
            number = int(rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
            group, share = bool(rng.random() < 0.5), float(rng.uniform(0.2, 1.0))
            what = f"{signal.Signals(number).name}{' to the group' if group else ''}"
            words = f"{what} after {100 * share:.0f} % of its time"
            yield f"{name}: {words}", act(partial(kill, name=name, number=number, group=group, share=share))


def kill(place: Place, found: Found, name: str, number: int, group: bool, share: float) -> None:
    """Run undisturbed, run and kill, run again and compare."""
    given = commands(place)
    if name not in given:
        return
    begin = time.monotonic()
    run_whole(given[name], found, "undisturbed")
    whole = time.monotonic() - begin
    (place.work / "out").rename(place.work / "reference")
    process = start(given[name])
    time.sleep(share * whole)
    if process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, number)
    said = finish(process, found, "stopped")
    found += orphans()
    if process.returncode not in (0, 1, 130, 143, -number):
        found.append(("status", f"{process.returncode}: {last_line(said)}"))
    if number != signal.SIGKILL and (place.work / "out").exists():
        hidden = [
            e.name
            for e in entries_below(place.work / "out")
            if e.name.startswith(".") and not e.name.endswith(".unfinished")
        ]
        found += [("leftover", ", ".join(hidden[:4]))] if hidden else []
    run_whole(given[name], found, "again")
    found += compare_folders(place.work / "out", place.work / "reference")


def disks(rng: np.random.Generator) -> Inputs:
    """Fill the disk below the output folder; then free it and start again."""
    while True:
        for name in NAMES:
            room = int(rng.integers(0, 120)) if name != "export" else int(rng.integers(0, 600))
            yield f"{name}: {room} kB of room", act(partial(fill, name=name, room=room))


def fill(place: Place, found: Found, name: str, room: int) -> None:
    """Run undisturbed, on a disk with little room, and again with room."""
    given = commands(place)
    if name not in given:
        return
    run_whole(given[name], found, "undisturbed")
    out = place.work / "out"
    out.rename(place.work / "reference")
    out.mkdir()
    with small_disk(out, room) as make_room:
        process = start(given[name])
        said = finish(process, found, "on a full disk")
        if process.returncode not in (0, 1, 2):
            found.append(("status", f"{process.returncode}: {last_line(said)}"))
        if process.returncode and TRACEBACK.search(said) is None and "space" not in said.casefold():
            found.append(("unclear line", last_line(said)))
        make_room()
        run_whole(given[name], found, "with room")
        found += compare_folders(out, place.work / "reference")


def races(rng: np.random.Generator) -> Inputs:
    """Run two commands into one folder, or change an input while it is read."""
    for number in range(40):
        kind = ("two at once", "an input cut meanwhile", "an input removed meanwhile")[number % 3]
        share = float(rng.uniform(0.2, 1.0))
        yield f"predict, {kind}, draw {number}", act(partial(race, kind=kind, share=share))


def race(place: Place, found: Found, kind: str, share: float) -> None:
    """Run predict while something else happens; masks of what is sound are those of an undisturbed run."""
    place.cohort()
    first = start(place.predict("--overwrite"))
    time.sleep(2.5 * share)
    if kind == "two at once":
        finish(start(place.predict("--overwrite")), found, "second")
    else:
        path = place.work / "in/c5/c5_t1.nii.gz"
        path.write_bytes(path.read_bytes()[:5000]) if "cut" in kind else path.unlink()
    said = finish(first, found, "first")
    if first.returncode not in (0, 1):
        found.append(("status", f"{first.returncode}: {last_line(said)}"))
    for case in CASES if kind == "two at once" else CASES[:4]:
        if words := differs(place.work / f"out/{case}.nii.gz", place.sound.mask(case)):
            found.append(("wrong success", f"{case}.nii.gz {words}"))


SURROUNDINGS: dict[str, str] = {
    "no environment": 'exec env -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" OMP_NUM_THREADS=1 "$@"',
    "locale C without UTF-8 mode": 'export LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0; exec "$@"',
    "a locale that is not there": 'export LC_ALL=xx_YY; exec "$@"',
    "ASCII for output": 'export PYTHONIOENCODING=ascii; exec "$@"',
    "stdin closed": 'exec "$@" <&-',
    "stdout closed": 'exec "$@" >&-',
    "stderr closed": 'exec "$@" 2>&-',
    "all closed": 'exec "$@" <&- >&- 2>&-',
    "stdout full": 'exec "$@" >/dev/full',
    "stderr full": 'exec "$@" 2>/dev/full',
    "a reader that has gone": '"$@" | true',
    "working folder deleted": 'mkdir gone; cd gone; rmdir ../gone; exec "$@"',
    "no folder for temporaries": 'export TMPDIR=/nowhere; exec "$@"',
    "no home": 'export HOME=/nowhere; exec "$@"',
    "umask 777": 'umask 777; exec "$@"',
    "20 open files": 'ulimit -n 20; exec "$@"',
    "2 GiB of addresses": 'ulimit -v 2097152; exec "$@"',
    "1 GiB of addresses": 'ulimit -v 1048576; exec "$@"',
    "asserts off": 'export PYTHONOPTIMIZE=2; exec "$@"',
    "an odd number of threads": 'export OMP_NUM_THREADS=abc; exec "$@"',
    "a terminal of one column": 'export COLUMNS=1 LINES=1 TERM=bogus; exec "$@"',
}


def surroundings(rng: np.random.Generator) -> Inputs:
    """Run commands in odd surroundings: the mask is right, or a line says why there is none."""
    for recipe in SURROUNDINGS:
        yield f"predict: {recipe}", act(partial(surround, recipe=recipe, name="predict"))
    for recipe in rng.permutation(list(SURROUNDINGS)):
        other = str(rng.choice(["evaluate", "datalist", "submission", "simulate"]))
        yield f"{other}: {recipe}", act(partial(surround, recipe=str(recipe), name=other))


def surround(place: Place, found: Found, recipe: str, name: str) -> None:
    """Run a command with absolute paths, a case name of letters that are not ASCII, and a preview."""
    given = [argument for argument in commands(place)[name] if argument != "--no-preview"]
    (place.work / "in/c1").rename(place.work / "in/Bär")
    absolute = [
        str(place.work / word) if (place.work / word).exists() or word.startswith("out") else word for word in given
    ]
    command = [sys.executable, "-m", "metakd_monai", *absolute]
    shell = ["bash", "-c", SURROUNDINGS[recipe], "bash", *command]
    process = launch(shell)
    said = finish(process, found, recipe)
    if process.returncode not in (0, 1, 2, 120):
        found.append(("status", f"{process.returncode}: {last_line(said)}"))
    if (
        process.returncode == 0
        and name == "predict"
        and (words := differs(place.work / "out/c2.nii.gz", place.sound.mask("c2")))
    ):
        found.append(("wrong success", f"c2.nii.gz {words}"))


FAMILIES = {"kill": (kills, 27), "full disk": (disks, 9), "race": (races, 6), "surroundings": (surroundings, 31)}
