"""What a NIfTI file may be to a command: a place for a damaged one, and what is right then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from campaign.sound import CASES, SEQUENCES
from campaign.trials import ANY, REFUSED, RIGHT, Inputs, Place, Plan, strings

Damage = Callable[[Place, bytes], bytes]  # of a whole .nii.gz


@dataclass(frozen=True)
class Role:
    """A file's part in a command.

    Attributes:
        name: in words.
        setting: writes the sound files and returns the one to damage, or several that are damaged alike.
        plan: the command, given what is expected of it.
        alike: all that a command sees is damaged in the same way, so that nothing beside it can differ.
    """

    name: str
    setting: Callable[[Place], Sequence[Path]]
    plan: Callable[[Place, str], Plan]
    alike: bool = False


def try_damage(role: Role, recipe: str, damage: Damage, expect: str) -> tuple[str, Callable[[Place], Plan]]:
    """Return an input: the files of a role, damaged."""

    def prepare(place: Place) -> Plan:
        for path in role.setting(place):
            path.write_bytes(damage(place, path.read_bytes()))
        return role.plan(place, expect)

    return f"{role.name}: {recipe}", prepare


def one_of_four(sequence: str) -> Role:
    """A sequence of a case that has four, in a cohort of two."""

    def setting(place: Place) -> list[Path]:
        place.cohort(cases=CASES[:2])
        return [place.work / f"in/c1/c1_{sequence}.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        sound = place.sound
        return Plan(
            place.predict(),
            expect,
            (f"c1_{sequence}", sequence),
            same={"out/c1.nii.gz": sound.mask("c1")},
            others={"out/c2.nii.gz": sound.mask("c2")},
            absent=("out/c1.nii.gz", "out/c1.json"),
        )

    return Role(f"predict, {sequence} of four", setting, plan)


def alone(sequence: str) -> Role:
    """The only sequence of a case."""

    def setting(place: Place) -> list[Path]:
        return [place.case("c1", sequences=[sequence]) / f"c1_{sequence}.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        same = {"out/c1.nii.gz": place.sound.mask("c1", [sequence])}
        return Plan(place.predict(), expect, (f"c1_{sequence}",), same=same, absent=("out/c1.nii.gz", "out/c1.json"))

    return Role(f"predict, {sequence} alone", setting, plan, alike=True)


def evaluated(*damaged: str) -> Role:
    """The prediction, the reference, or both of one of two cases."""
    paths = {"prediction": "pred/c1.nii.gz", "reference": "in/c1/c1_seg.nii.gz"}

    def setting(place: Place) -> list[Path]:
        place.masks()
        place.cohort(cases=CASES[:2])
        return [place.work / paths[name] for name in damaged]

    def plan(place: Place, expect: str) -> Plan:
        same = {"out/scores.csv": place.sound.scores()} if expect == RIGHT else {}
        return Plan(place.evaluate(), expect, ("c1",), same=same)

    return Role(f"evaluate, {' and '.join(damaged)}", setting, plan, alike=len(damaged) == 2)


def listed(name: str, skip: bool = False) -> Role:
    """A sequence or the label map of one of the cases that a datalist is made of."""

    def setting(place: Place) -> list[Path]:
        place.cohort()
        return [place.work / f"in/c1/c1_{name}.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        if not skip:
            return Plan(place.datalist(), expect, (f"c1_{name}",), absent=("out/list.json",))
        gone = {"out/list.json": '"c1"'} if expect == REFUSED else {}  # left out is right, refused is not
        return Plan(place.datalist("--skip-damaged"), RIGHT if expect == REFUSED else ANY, ("c1",), lacks=gone)

    return Role(f"datalist{' --skip-damaged' if skip else ''}, {name}", setting, plan)


def submitted() -> Role:
    """A mask that is packed for upload."""

    def setting(place: Place) -> list[Path]:
        place.cohort(cases=CASES[:2])
        return [place.masks() / "c1.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        arguments = strings("submission", "pred", "--inputs", "in", "--year", "2020", "-o", "out/upload")
        return Plan(arguments, REFUSED, ("c1",) if expect == REFUSED else (), absent=("out/upload",))

    return Role("submission, mask", setting, plan)


def scored(name: str) -> Role:
    """A sequence or the label map of one of two cases of a benchmark."""

    def setting(place: Place) -> list[Path]:
        place.cohort(cases=CASES[:2])
        return [place.work / f"in/c1/c1_{name}.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        return Plan(place.benchmark("--cases", "in"), expect, ("c1",))

    return Role(f"benchmark, {name}", setting, plan)


def studied(name: str) -> Role:
    """A sequence or the label map of one of two cases of a study."""

    def setting(place: Place) -> list[Path]:
        place.cohort(cases=CASES[:2])
        return [place.work / f"in/c1/c1_{name}.nii.gz"]

    def plan(place: Place, expect: str) -> Plan:
        return Plan(place.study(), expect, ("c1",))

    return Role(f"study, {name}", setting, plan)


ONE = [one_of_four(name) for name in SEQUENCES]
ALONE = [alone(name) for name in SEQUENCES]
LABELS = [evaluated("prediction"), evaluated("reference"), listed("seg")]
BOTH = [evaluated("prediction", "reference")]
LISTED = [listed("t1"), listed("flair", skip=True), listed("t2", skip=True)]
SCORED = [scored("t1ce"), scored("seg"), studied("t2"), studied("seg")]
EVERY = [*ONE, *ALONE, *LABELS, *LISTED, submitted(), *SCORED]


def cross(
    rng: np.random.Generator, roles: Sequence[Role], damages: Callable[[np.random.Generator], tuple[str, Damage, str]]
) -> Inputs:
    """Yield inputs for ever: the roles in turn, a damage drawn for each."""
    while True:
        for role in roles:
            recipe, damage, expect = damages(rng)
            yield try_damage(role, recipe, damage, expect)
