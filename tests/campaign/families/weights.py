"""Weights and exports that are cut, of another network, not finite, or that run code when they are read carelessly."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from campaign.networks import draw_state
from campaign.trials import ANY, REFUSED, RIGHT, Inputs, Place, Plan, Prepare, strings

ENDS = (".pt", ".ts", ".onnx", ".pt2")
State = dict[str, torch.Tensor]
USERS = ("predict", "predict", "export", "benchmark")


def try_weights(place: Place, name: str, expect: str, user: str = "predict") -> Plan:
    """Return a plan: a command that is given these weights."""
    if user == "export":
        return Plan(strings("export", "--weights", name, "-o", "out/x.ts"), expect, (name,), absent=("out/x.ts",))
    place.case("c1")
    if user == "benchmark":
        return Plan(strings("benchmark", "--cases", "in", "--weights", name, "-o", "out"), expect, (name,))
    same = {"out/c1.nii.gz": place.sound.mask("c1")} if expect == RIGHT else {}
    arguments = strings("predict", "in", "-o", "out", "--weights", name, "--no-preview")
    return Plan(arguments, expect, (name,), same=same, absent=("out/c1.nii.gz",))


class Bomb:
    """What makes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (open, (str(self.canary), "w"))


def pickles(rng: np.random.Generator) -> Inputs:
    """Name a pickle that makes a file as each kind of weights, plain, in an archive, in a state dict."""
    for end, form in itertools.product((*ENDS, ".pth", ".ckpt", ".bin", ".safetensors"), range(4)):
        recipe = ("a plain pickle", "torch.save", "torch.save of the old form", "an archive with data.pkl")[form]
        yield f"{recipe} as {end}", armed(end, form)


def armed(end: str, form: int) -> Prepare:
    """Return what makes such a file."""

    def prepare(place: Place) -> Plan:
        content = {"a": Bomb(place.canary)} if place.rng.random() < 0.5 else Bomb(place.canary)
        path = place.work / f"w{end}"
        if form == 0:
            path.write_bytes(pickle.dumps(content))
        elif form < 3:
            torch.save(content, path, _use_new_zipfile_serialization=form == 1)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                for folder in ("archive", "w", "extra"):
                    archive.writestr(f"{folder}/data.pkl", pickle.dumps(content, protocol=2))
                    archive.writestr(f"{folder}/version", "3\n")
        return try_weights(place, path.name, REFUSED)

    return prepare


def armed_exports(rng: np.random.Generator) -> Inputs:
    """Put a pickle, or an expression, into each entry of our own .pt2; a pickle into those of .ts."""
    for number in range(24):
        end = (".pt2", ".pt2", ".ts")[number % 3]
        yield f"{end}, one entry armed, draw {number}", armed_entry(end)


def armed_entry(end: str) -> Prepare:
    """Return what makes an export of which one entry, drawn, is a pickle or holds an expression."""

    def prepare(place: Place) -> Plan:
        with zipfile.ZipFile(place.sound.export(end)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        names = [n for n in entries if end == ".ts" or n.endswith((".pt", ".json", "data.pkl")) or "sample" in n]
        name = str(place.rng.choice(names or list(entries)))
        buffer = io.BytesIO()
        torch.save(Bomb(place.canary), buffer)
        expression = f"__import__('pathlib').Path('{place.canary}').touch()"
        if name.endswith(".json"):
            text = entries[name].decode(errors="replace")
            entries[name] = text.replace('"expr_str": "', '"expr_str": "' + expression + " or ").encode()
        elif name.endswith("data.pkl"):
            entries[name] = pickle.dumps(Bomb(place.canary), protocol=2)
        else:
            entries[name] = buffer.getvalue()
        with zipfile.ZipFile(place.work / f"w{end}", "w") as archive:
            for entry, data in entries.items():
                archive.writestr(entry, data)
        return try_weights(place, f"w{end}", ANY)

    return prepare


def damaged(rng: np.random.Generator) -> Inputs:
    """Cut weights and exports, flip their bits, put zeros or other texts in their place."""
    for number in itertools.count():
        end, kind = ENDS[number % 4], int(rng.integers(5))
        share = float(rng.uniform())
        recipe = ("cut to", "a bit flipped at", "zeros from", "nothing but text", "named as another format")[kind]
        yield f"{end}: {recipe} {100 * share:.1f} %", damage(end, kind, share)


def damage(end: str, kind: int, share: float) -> Prepare:
    """Return what makes a damaged file of weights."""

    def prepare(place: Place) -> Plan:
        source = place.sound.weights if end == ".pt" else place.sound.export(end)
        data = bytearray(source.read_bytes())
        at, name = int(share * (len(data) - 1)), f"w{end}"
        if kind == 0:
            data = data[:at]
        elif kind == 1:
            data[at] ^= 1 << int(place.rng.integers(8))
        elif kind == 2:
            data[at:] = bytes(len(data) - at)
        elif kind == 3:
            data = bytearray(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
        else:
            name = f"w{place.rng.choice([e for e in ENDS if e != end])}"
        (place.work / name).write_bytes(data)
        return try_weights(place, name, ANY if kind == 1 else REFUSED)

    return prepare


def set_value(value: float, share: float | None) -> Callable[[State, np.random.Generator], Any]:
    """Return a change of a state dict: a value in one number (None), in a share of them, of one tensor drawn."""

    def change(state: State, rng: np.random.Generator) -> State:
        name = str(rng.choice([n for n, t in state.items() if t.is_floating_point()]))
        flat = state[name].flatten()
        picked = rng.choice(len(flat), max(1, int((share or 0) * len(flat))), replace=False)
        flat[torch.from_numpy(picked)] = value
        return {**state, name: flat.reshape(state[name].shape)}

    return change


def one(change: Callable[[torch.Tensor], Any]) -> Callable[[State, np.random.Generator], Any]:
    """Return a change of one tensor, drawn."""

    def change_state(state: State, rng: np.random.Generator) -> State:
        name = str(rng.choice(list(state)))
        return {**state, name: change(state[name])}

    return change_state


def without_one(state: State, rng: np.random.Generator) -> State:
    """Leave out one tensor."""
    gone = str(rng.choice(list(state)))
    return {name: tensor for name, tensor in state.items() if name != gone}


STATES: dict[str, tuple[Callable[[State, np.random.Generator], Any], str]] = {
    "wrapped as state_dict": (lambda s, _: {"state_dict": s}, RIGHT),
    "as float64": (lambda s, _: {n: t.double() for n, t in s.items()}, ANY),
    "as float16": (lambda s, _: {n: t.half() for n, t in s.items()}, ANY),
    "as integers": (lambda s, _: {n: t.to(torch.int8) for n, t in s.items()}, REFUSED),
    "as complex": (lambda s, _: {n: t.to(torch.complex64) for n, t in s.items()}, REFUSED),
    "empty": (lambda s, _: {}, REFUSED),
    "a list": (lambda s, _: list(s.values()), REFUSED),
    "a tensor": (lambda s, _: torch.zeros(4), REFUSED),
    "None": (lambda s, _: None, REFUSED),
    "numbers for names": (lambda s, _: dict(enumerate(s.values())), REFUSED),
    "prefixed": (lambda s, _: {f"module.{n}": t for n, t in s.items()}, ANY),
    "of classes unknown": (lambda s, _: {"state_dict": {**s, "more": "text"}}, ANY),
    "a tensor left out": (without_one, REFUSED),
    "a tensor too many": (lambda s, _: {**s, "another": torch.zeros(2)}, REFUSED),
    "a tensor of no axes": (one(lambda t: torch.tensor(1.0)), REFUSED),
    "a tensor turned": (one(lambda t: t.flatten()[None, None]), REFUSED),
    "a tensor without elements": (one(lambda t: t[:0]), REFUSED),
    "a tensor of strings": (one(lambda t: "text"), REFUSED),
    "a sparse tensor": (one(lambda t: t.to_sparse()), REFUSED),
    "a meta tensor": (one(lambda t: t.to("meta")), REFUSED),
    "a tensor of stride 0": (one(lambda t: torch.zeros(1, dtype=torch.float16).expand(10**6, 10**5)), REFUSED),
    "all of stride 0": (lambda s, _: {n: torch.zeros(1).expand(60000, 60000) for n in s}, REFUSED),
    **{f"one {v}": (set_value(float(v), None), REFUSED) for v in ("nan", "inf", "-inf")},
    **{f"a tenth {v}": (set_value(float(v), 0.1), REFUSED) for v in ("nan", "inf")},
    "all NaN": (lambda s, _: {n: t * float("nan") for n, t in s.items()}, REFUSED),
    "of three sequences": (lambda s, _: draw_state(in_channels=3), REFUSED),
    "of four regions": (lambda s, _: draw_state(out_channels=4), REFUSED),
    "of two dimensions": (lambda s, _: draw_state(spatial_dims=2), REFUSED),
}


def states(rng: np.random.Generator) -> Inputs:
    """Save state dicts that are none of this network's, or not finite, for each command that reads weights."""
    for recipe, (change, expect) in STATES.items():
        for user in ("predict", USERS[1 + int(rng.integers(3))]):
            yield f"{user}: weights {recipe}", saved(change, expect, user)


def saved(change: Callable[[State, np.random.Generator], Any], expect: str, user: str) -> Prepare:
    """Return what saves a changed state dict."""

    def prepare(place: Place) -> Plan:
        state = torch.load(place.sound.weights, weights_only=True)
        torch.save(change(state, place.rng), place.work / "w.pt")
        return try_weights(place, "w.pt", expect, user)

    return prepare


def notes(rng: np.random.Generator) -> Inputs:
    """Spoil what an export notes of itself."""
    from campaign.families.records import TEXTS, WRONG

    for number in range(40):
        text = (
            TEXTS[number % len(TEXTS)]
            if number % 2
            else json.dumps({"metakd_export": WRONG[number % len(WRONG)]}).encode()
        )
        yield f".ts with a note {text[:30]!r}", noted(text)


def noted(text: bytes) -> Prepare:
    """Return what writes TorchScript with this text for metadata.json."""

    def prepare(place: Place) -> Plan:
        network = torch.jit.load(str(place.sound.export(".ts")))
        torch.jit.save(network, str(place.work / "w.ts"), _extra_files={"metadata.json": text})
        return try_weights(place, "w.ts", ANY)

    return prepare


FAMILIES = {
    "weights, pickle": (pickles, 32),
    "weights, armed export": (armed_exports, 15),
    "weights, damaged": (damaged, 40),
    "weights, state": (states, 64),
    "weights, note": (notes, 20),
}
