"""Files that were cut short, flipped in a bit, or that grow without end when they are unpacked."""

from __future__ import annotations

import gzip
import itertools
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from campaign.families.roles import ALONE, EVERY, LABELS, ONE, SCORED, Damage, Role, cross, submitted, try_damage
from campaign.sound import CASES
from campaign.trials import EITHER, REFUSED, Inputs, Place, Plan, Prepare, nifti, pack


def truncated(rng: np.random.Generator) -> Inputs:
    """Cut .nii.gz anywhere: its header, its stream, its checksum."""
    return cross(rng, EVERY, draw_cut)


def draw_cut(rng: np.random.Generator) -> tuple[str, Damage, str]:
    """Draw where to cut, as a share of the file or as bytes from its end."""
    kind = rng.integers(6)
    if kind == 0:
        last = int(rng.integers(1, 10))
        return f"the last {last} bytes cut off", lambda _, data: data[:-last], REFUSED
    if kind == 1:
        first = int(rng.integers(0, 30))
        return f"cut to {first} bytes", lambda _, data: data[:first], REFUSED
    share = float(rng.uniform(0.01, 0.99))
    if kind == 2:
        recipe = f"zeros from {100 * share:.1f} % on"
        return (
            recipe,
            lambda _, data: data[: int(share * len(data))] + bytes(len(data) - int(share * len(data))),
            REFUSED,
        )
    if kind == 3:
        recipe = f"a hole of 64 bytes at {100 * share:.1f} %"
        return recipe, lambda _, data: data[: int(share * len(data))] + data[int(share * len(data)) + 64 :], REFUSED
    return f"cut to {100 * share:.1f} %", lambda _, data: data[: int(share * len(data))], REFUSED


def flipped(rng: np.random.Generator) -> Inputs:
    """Flip one bit of a .nii.gz, such that ``gzip -t`` refuses the file."""
    return cross(rng, EVERY, draw_flip)


def draw_flip(rng: np.random.Generator) -> tuple[str, Damage, str]:
    """Draw which bit to flip: of all that make the file unsound, the one at this share of them."""
    share = float(rng.uniform())

    def flip(place: Place, data: bytes) -> bytes:
        for _ in range(100):
            changed = bytearray(data)
            changed[int((share + place.rng.uniform(-0.01, 0.01)) * len(data)) % len(data)] ^= 1 << place.rng.integers(8)
            try:
                gzip.decompress(bytes(changed))
            except (OSError, EOFError, zlib.error):
                return bytes(changed)
        raise RuntimeError("no bit makes it unsound")

    return f"a bit flipped near {100 * share:.1f} %", flip, REFUSED


def cut_raw(rng: np.random.Generator) -> Inputs:
    """Cut uncompressed .nii anywhere, or let there be more than the header says."""
    for number in itertools.count():
        share, kind = float(rng.uniform(0.0, 1.0)), number % 3
        what = ("cut to", "only header and", "cut by one byte after")[kind]
        yield f"flair.nii {what} {100 * share:.1f} %", cut_raw_file(share, kind)


def cut_raw_file(share: float, kind: int) -> Prepare:
    """Return what makes a case whose FLAIR is an uncompressed file that was cut."""

    def prepare(place: Place) -> Plan:
        folder = place.case("c1", sequences=["flair"])
        packed = folder / "c1_flair.nii.gz"
        data = gzip.decompress(packed.read_bytes())
        packed.unlink()
        ends = (int(share * len(data)), 352 + int(share * 100), len(data) - 1)
        (folder / "c1_flair.nii").write_bytes(data[: ends[kind]])
        return Plan(place.predict(), REFUSED, ("c1_flair",), absent=("out/c1.nii.gz",))

    return prepare


def trailing(rng: np.random.Generator) -> Inputs:
    """Append what does not belong there: garbage, zeros, a second member, a whole second file."""
    tails: dict[str, Damage] = {
        "garbage": lambda place, data: data + place.rng.bytes(40),
        "zeros": lambda _, data: data + bytes(512),
        "an empty member": lambda _, data: data + pack(b""),
        "itself again": lambda _, data: data + data,
        "its stream in three members": lambda _, data: b"".join(
            pack(part.tobytes()) for part in np.array_split(np.frombuffer(gzip.decompress(data), np.uint8), 3)
        ),
    }
    for recipe, damage in itertools.cycle(tails.items()):
        for role in (ONE[2], LABELS[0]):
            yield try_damage(role, f"followed by {recipe}", damage, EITHER)


def bombs(rng: np.random.Generator) -> Inputs:
    """Small files that are gigabytes once they are read, or say that they are."""
    roles = (ONE[1], ALONE[0], *LABELS, submitted(), *SCORED)
    for role in itertools.cycle(roles):
        kind = int(rng.integers(3))
        edge = int(rng.integers(*((900, 1200), (300, 600), (900, 9000))[kind]))
        recipe = f"{edge}^3 voxels of {('uint8', 'float64', 'int16, of which none are there')[kind]}"

        def prepare(place: Place, role: Role = role, edge: int = edge, kind: int = kind) -> Plan:
            for path in role.setting(place):
                write_bomb(path, edge, ("u1", "f8", "i2")[kind], filled=kind != 2)
            plan = role.plan(place, REFUSED)
            memory = 4.5 if plan.arguments[0] == "predict" else None  # --memory-limit is 3 GiB
            return replace(plan, memory=memory)

        yield f"{role.name}: {recipe}", prepare


def write_bomb(path: Path, edge: int, kind: str, filled: bool) -> None:
    """Write a file that declares ``edge``^3 voxels, all 0 and so quickly packed, or not there at all."""
    header = bytearray(nifti(np.zeros((1, 1, 1), kind), np.diag([1.0, 1, 1, 1]))[:352])
    header[42:48] = np.array([edge] * 3, "<i2").tobytes()
    packer = zlib.compressobj(1, wbits=31)
    with path.open("wb") as file:
        file.write(packer.compress(bytes(header)))
        block, left = bytes(1 << 24), edge**3 * np.dtype(kind).itemsize if filled else 0
        while left > 0:
            file.write(packer.compress(block[: min(left, len(block))]))
            left -= len(block)
        file.write(packer.flush())


def deep_json(rng: np.random.Generator) -> Inputs:
    """JSON files nested so deeply that a reader which calls itself does not come back."""
    for brackets in itertools.cycle("[{"):
        depth = int(rng.integers(2_000, 2_000_000))
        text = ('{"a":' if brackets == "{" else "[") * depth
        for name, prepare in (("benchmark", deep_datalist), ("expected.json", deep_expected)):
            yield f"{name}: {depth} times {brackets}", partial(prepare, text=text)


def deep_datalist(place: Place, text: str) -> Plan:
    """Give such a file as a datalist."""
    (place.work / "list.json").write_text(text)
    return Plan(place.benchmark("--datalist", "list.json"), REFUSED, ("list.json",))


def deep_expected(place: Place, text: str) -> Plan:
    """Lay such a file beside the weights: the mask does not depend on it."""
    place.case(CASES[0])
    (place.work / "w").mkdir()
    (place.work / "w/model.pt").write_bytes(place.sound.weights.read_bytes())
    (place.work / "w/expected.json").write_text(text)
    arguments = ["predict", "in", "-o", "out", "--weights", "w/model.pt", "--no-preview"]
    return Plan(arguments, "right", same={"out/c1.nii.gz": place.sound.mask("c1")})


FAMILIES = {
    "truncated gz": (truncated, 51),
    "flipped gz": (flipped, 51),
    "truncated raw": (cut_raw, 24),
    "trailing bytes": (trailing, 12),
    "bomb": (bombs, 12),
    "deep JSON": (deep_json, 8),
}
