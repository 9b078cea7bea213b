"""The plan of a comparison: methods, seeds, folds and trainings, from a TOML file (docs/arena.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from metakd_monai.data.files import read_toml
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.inferers import parse_window

EXPECTED = "a plan in TOML (docs/how-to/compare-methods.md)"
NAME = re.compile(r"\w[\w .,+-]*")  # a method's name: folders are named after it
ENDINGS = (".csv", ".json", ".md", ".pt", ".png", ".svg", ".tex")  # of the files beside the methods' folders
METHOD_KEYS = ("overlay", "options", "faithful")


@dataclass(frozen=True)
class Method:
    """A method to train.

    Attributes:
        name: in tables, and of its folder.
        overlays: the last configurations, such as ``methods/lckd.json``; none for MetaKD itself.
        options: of its training only; they override those of the plan.
        faithful: further options for the losses and laws of its source, used if the plan is ``faithful``.
    """

    name: str
    overlays: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None
    faithful: Mapping[str, Any] | None = None

    @property
    def folder(self) -> str:
        """Name of the folder of its trainings."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True)
class Plan:
    """Methods x seeds x folds, with equal steps, crops, augmentation and loss.

    Attributes:
        methods: to train.
        cases: a folder of labelled cases, assigned to ``folds``; or else
        datalist: a file of ``metakd datalist``, whose test part is scored, or the fold if it has none.
        folds: number of folds.
        only: folds to do; empty for all, and for fold 0 of a datalist.
        fold_seed: of the assignment to folds.
        seeds: of the trainings.
        overlays: configurations before that of a method.
        options: of every training, as ``metakd train`` takes them.
        weights: initial weights of every training; None for new networks.
        input_stride: factor by which training coarsens images, and the network itself afterwards; None if training does
            not coarsen them.
        window: that the networks are used with; None for that of the training.
        faithful: use each method's own losses and laws too.
        reference: the method that the others are compared with; the first by default.
        least_et: mL of enhancing tumour below which a case does not count for it.
    """

    methods: tuple[Method, ...]
    cases: Path | None = None
    datalist: Path | None = None
    folds: int = 4
    only: tuple[int, ...] = ()
    fold_seed: int = 28
    seeds: tuple[int, ...] = (0,)
    overlays: tuple[str, ...] = ()
    options: Mapping[str, Any] | None = None
    weights: Path | None = None
    input_stride: int | None = None
    window: str | None = None
    faithful: bool = False
    reference: str = ""
    least_et: float = 1.0

    @property
    def chosen_folds(self) -> tuple[int, ...]:
        """The folds to do."""
        return self.only or (tuple(range(self.folds)) if self.datalist is None else (0,))

    def options_of(self, method: Method) -> dict[str, Any]:
        """Return the options of a method's trainings."""
        own = (method.faithful or {}) if self.faithful else {}
        return {**(self.options or {}), **(method.options or {}), **own}

    def overlays_of(self, method: Method) -> list[str]:
        """Return the configurations of a method's trainings, in order."""
        return ["train.json", *self.overlays, *method.overlays]


KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("cases", "datalist", "weights", "window", "reference"), (str,)),
    **dict.fromkeys(("folds", "fold_seed", "input_stride"), (int,)),
    **dict.fromkeys(("only", "seeds", "overlays"), (list,)),
    **dict.fromkeys(("options", "methods"), (dict,)),
    "faithful": (bool,),
    "least_et": (int, float),
}


def read_plan(path: Path, cases: Path | None = None, weights: Path | None = None, datalist: Path | None = None) -> Plan:
    """Read a plan; names of files in it are relative to it.

    Args:
        path: the TOML file.
        cases: a folder in place of the plan's own cases or datalist.
        weights: initial weights, in place of the plan's own.
        datalist: likewise for the datalist.

    Raises:
        UserError: for an unknown key, an invalid value, or no cases.
    """
    table = read_toml(path, EXPECTED)
    check_keys(path, table, [field.name for field in fields(Plan)])
    for name, kinds in KINDS.items():
        if name in table and (type(table[name]) not in kinds):
            raise UserError(f"{path}: {name} is {in_one_line(repr(table[name]), 60)}; expected {describe(kinds)}")
    methods = tuple(read_method(path, name, found) for name, found in table.pop("methods", {}).items())
    places = {name: path.parent / table.pop(name) for name in ("cases", "datalist", "weights") if name in table}
    given = {"cases": cases, "datalist": datalist, "weights": weights}
    if cases is not None or datalist is not None:
        places = {name: place for name, place in places.items() if name == "weights"}
    places |= {name: place for name, place in given.items() if place is not None}
    lists = {name: tuple(table.pop(name)) for name in ("only", "seeds", "overlays") if name in table}
    lists["overlays"] = tuple(beside(path, name) for name in lists.get("overlays", ()))
    plan = Plan(methods=methods, **{"reference": methods[0].name if methods else "", **table, **places, **lists})
    check_plan(path, plan)
    return plan


def check_keys(path: Path, table: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise UserError for an unknown key."""
    for name in table:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise UserError(f"{path}: {in_one_line(name, 60)}: unknown; {hint}expected some of {', '.join(known)}")


def describe(kinds: Sequence[type]) -> str:
    """Name types of values in TOML's terms."""
    words = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a table", bool: "a truth"}
    return " or ".join(words[kind] for kind in kinds)


def read_method(path: Path, name: str, table: Any) -> Method:
    """Read one method; raises UserError for a name unsuitable for a folder, or an invalid value."""
    if not NAME.fullmatch(name):
        raise UserError(f"{path}: methods: {name!a} found; expected letters, digits, spaces and . , + - _")
    if not isinstance(table, Mapping):
        raise UserError(f"{path}: methods: {name} is {in_one_line(repr(table), 60)}; expected a table")
    check_keys(path, table, METHOD_KEYS)
    kinds = {"overlay": (str, list), "options": (dict,), "faithful": (dict,)}
    for key, value in table.items():
        if not isinstance(value, kinds[key]):
            shown = in_one_line(repr(value), 60)
            raise UserError(f"{path}: methods: {name}: {key} is {shown}; expected {describe(kinds[key])}")
    given = table.get("overlay", [])
    names = [given] if isinstance(given, str) else given
    if strange := [each for each in names if not isinstance(each, str)]:
        raise UserError(f"{path}: methods: {name}: overlay has {in_one_line(repr(strange[0]), 60)}; expected texts")
    overlays = tuple(beside(path, each) for each in names)
    return Method(name, overlays, table.get("options"), table.get("faithful"))


def beside(path: Path, name: object) -> str:
    """Return the path of a configuration: beside the plan, or else where ``metakd train`` finds it by name."""
    place = path.parent / str(name)
    return str(place) if place.is_file() else str(name)


def check_plan(path: Path, plan: Plan) -> None:
    """Raise UserError for a plan that cannot be carried out."""
    names = [method.name for method in plan.methods]
    if not names:
        raise UserError(f"{path}: no methods found; expected [methods.NAME] at least once")
    if plan.reference not in names:
        raise UserError(f"{path}: reference is {plan.reference!r}; expected one of {', '.join(names)}")
    if (plan.cases is None) == (plan.datalist is None):
        found = "neither" if plan.cases is None else "both"
        raise UserError(f"{path}: {found} of cases and datalist found; expected one of the two, or --cases DIR")
    check_folders(path, plan.methods)
    check_numbers(path, plan)
    try:
        parse_window(plan.window)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def check_folders(path: Path, methods: Sequence[Method]) -> None:
    """Raise UserError for methods whose trainings would share a folder, with each other or with the cases."""
    taken = {"folds": "the folder of cases"}
    for method in methods:
        if method.folder.endswith(ENDINGS):
            raise UserError(
                f"{path}: methods: {method.name!r} is the name of a file; expected none of {', '.join(ENDINGS)}"
            )
        if method.folder in taken:
            found = f"{method.name!r} and {taken[method.folder]!r} would share the folder {method.folder}"
            raise UserError(f"{path}: methods: {found}; expected another name")
        taken[method.folder] = method.name


def check_numbers(path: Path, plan: Plan) -> None:
    """Raise UserError for invalid seeds, folds or stride."""
    if plan.folds < 2:
        raise UserError(f"{path}: folds is {plan.folds}; expected 2 or more")
    if plan.input_stride is not None and plan.input_stride < 1:
        raise UserError(f"{path}: input_stride is {plan.input_stride}; expected 1 or more")
    for name, numbers in (("seeds", plan.seeds), ("only", plan.only)):
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or len(set(numbers)) < len(numbers):
            raise UserError(f"{path}: {name} is {list(numbers)}; expected different whole numbers from 0 on")
    if not plan.seeds:
        raise UserError(f"{path}: no seeds found; expected one at least")
    if plan.datalist is None and any(number >= plan.folds for number in plan.only):
        raise UserError(f"{path}: only is {list(plan.only)}; expected folds below {plan.folds}")
