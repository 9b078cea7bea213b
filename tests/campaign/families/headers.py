"""NIfTI headers with one field that lies."""

from __future__ import annotations

import gzip
import itertools
import struct
from collections.abc import Callable, Sequence

import numpy as np

from campaign.families.roles import ALONE, BOTH, LABELS, LISTED, ONE, SCORED, Role, submitted, try_damage
from campaign.trials import ANY, EITHER, REFUSED, RIGHT, Inputs, Place, pack

NAN, INF = float("nan"), float("inf")
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET, SLOPE, INTER = 40, 70, 72, 76, 108, 112, 116
QFORM, SFORM, QUATERN, SROW, MAGIC, SIZE = 252, 254, 256, 280, 344, 0
HARMLESS = {"descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16), "db_name": (14, 18), "cal": (124, 8)}
# Data types of NIfTI-1 whose voxels are larger than those of any sound file, or are no numbers on a line.
OTHER_SIZES = (8, 16, 64, 768, 1024, 1280)
NO_NUMBERS = (0, 1, 32, 128, 1536, 1792, 2048, 2304)


class Lie:
    """A field of the header set to something else.

    Args:
        name: in words.
        form: of :mod:`struct`.
        place: byte in the header.
        values: what is written.
        expect: of one file among others that are sound.
        alike: where all that a command sees lies alike; None for the same.
    """

    def __init__(
        self, name: str, form: str, place: int, values: Sequence[object], expect: str, alike: str | None = None
    ) -> None:
        self.name, self.form, self.place, self.values = name, form, place, values
        self.expect, self.alike = expect, alike or expect

    def damage(self, _: Place, data: bytes) -> bytes:
        """Write the lie into a .nii.gz."""
        raw = bytearray(gzip.decompress(data))
        struct.pack_into("<" + self.form, raw, self.place, *self.values)
        return pack(bytes(raw))


def draw_lie(rng: np.random.Generator) -> Lie:
    """Draw a lie of any kind."""
    lie = KINDS[int(rng.integers(len(KINDS)))](rng)
    return lie


def dimensions(rng: np.random.Generator) -> Lie:
    """The number of axes, or the length of one."""
    kind = int(rng.integers(5))
    if kind == 0:
        number = int(rng.choice([-7, -1, 0, 8, 12, 255, 32767]))
        return Lie(f"dim[0] {number}", "h", DIM, [number], REFUSED)
    if kind == 1:
        return Lie("dim[0] 4, a trailing axis of 1", "h", DIM, [int(rng.integers(4, 8))], RIGHT)
    if kind == 2:
        sizes = [int(rng.integers(2000, 32767))] * int(rng.integers(3, 8))
        return Lie(f"dim {sizes}", f"{len(sizes) + 1}h", DIM, [len(sizes), *sizes], REFUSED)
    axis, length = int(rng.integers(1, 4)), int(rng.choice([-32768, -5, -1, 0, 1, 7, 31, 41, 99, 32767]))
    return Lie(f"dim[{axis}] {length}", "h", DIM + 2 * axis, [length], REFUSED)


def data_types(rng: np.random.Generator) -> Lie:
    """The type of the voxels, or their bits."""
    kind = int(rng.integers(4))
    if kind == 0:
        code = int(rng.choice(NO_NUMBERS))
        return Lie(f"datatype {code}", "h", DATATYPE, [code], REFUSED)
    if kind == 1:
        code = int(rng.integers(3000, 32767)) * int(rng.choice([-1, 1]))
        return Lie(f"datatype {code}", "h", DATATYPE, [code], REFUSED)
    if kind == 2:
        code = int(rng.choice(OTHER_SIZES))
        return Lie(f"datatype {code}, of another size", "h", DATATYPE, [code], REFUSED)
    return Lie("bitpix", "h", BITPIX, [int(rng.integers(-32768, 32767))], EITHER)


def offsets(rng: np.random.Generator) -> Lie:
    """Where the voxels begin."""
    kind = int(rng.integers(2))
    if kind == 0:
        value = float(rng.choice([NAN, INF, -INF, -1e9, 1e30, 2**31, 2**40]))
        return Lie(f"vox_offset {value:g}", "f", VOX_OFFSET, [value], REFUSED)
    value = float(rng.integers(353, 5000))
    return Lie(f"vox_offset {value:g}, past the end", "f", VOX_OFFSET, [value], REFUSED)


def scaling(rng: np.random.Generator) -> Lie:
    """What the voxels are multiplied with, and what is added."""
    kind = int(rng.integers(4))
    if kind == 0:
        value = float(rng.choice([INF, -INF]))
        return Lie(f"scl_slope {value}", "f", SLOPE, [value], REFUSED)
    if kind == 1:
        value = float(rng.choice([NAN, INF, -INF]))
        return Lie(f"scl_slope 1, scl_inter {value}", "2f", SLOPE, [1.0, value], REFUSED)
    if kind == 2:
        return Lie("scl_slope 0, which is none", "2f", SLOPE, [0.0, float(rng.choice([0.0, 7.0, -3.0]))], RIGHT)
    return Lie("scl_slope NaN", "f", SLOPE, [NAN], EITHER)


def affines(rng: np.random.Generator) -> Lie:
    """The sform, where sform_code says that it counts."""
    kind = int(rng.integers(5))
    row = SROW + 16 * int(rng.integers(3))
    if kind == 0:
        value = float(rng.choice([NAN, INF, -INF]))
        return Lie(f"srow with {value}", "f", row + 4 * int(rng.integers(4)), [value], REFUSED)
    if kind == 1:
        return Lie("srow singular", "4f", row, [0.0, 0.0, 0.0, float(rng.uniform(-9, 9))], REFUSED)
    if kind == 2:
        return Lie("srow all 0", "12f", SROW, [0.0] * 12, REFUSED)
    if kind == 3:
        return Lie("srow two rows alike", "8f", SROW, [-4.0, 0, 0, 0] * 2, REFUSED)
    millimetres = float(rng.uniform(1, 90))
    return Lie(f"srow_x moved to {millimetres:.1f} mm", "f", SROW + 12, [millimetres], REFUSED, EITHER)


def magics(rng: np.random.Generator) -> Lie:
    """What says that it is NIfTI at all."""
    kind = int(rng.integers(3))
    if kind == 0:
        text = bytes(rng.integers(65, 90, 4).astype(np.uint8))
        return Lie(f"magic {text!r}", "4s", MAGIC, [text], REFUSED)
    if kind == 1:
        return Lie("magic of an .img pair", "4s", MAGIC, [b"ni1\0"], EITHER)
    size = int(rng.choice([0, -1, 1, 347, 349, 2**30]))
    return Lie(f"sizeof_hdr {size}", "i", SIZE, [size], EITHER)


def unused(rng: np.random.Generator) -> Lie:
    """What no command has a use for: the same mask."""
    name = str(rng.choice(list(HARMLESS)))
    place, length = HARMLESS[name]
    return Lie(f"{name} of random bytes", f"{length}s", place, [rng.bytes(length)], RIGHT)


def odd_forms(rng: np.random.Generator) -> Lie:
    """The qform beside a sound sform, voxel sizes, codes."""
    kind, value = int(rng.integers(4)), float(rng.choice([NAN, INF, 0.0, -2.0, 1e30, 1e-30]))
    if kind == 0:
        return Lie(f"quatern {value:g}", "f", QUATERN + 4 * int(rng.integers(3)), [value], EITHER)
    if kind == 1:
        return Lie(f"pixdim {value:g}", "f", PIXDIM + 4 * int(rng.integers(0, 5)), [value], EITHER)
    code = int(rng.integers(-32768, 32767))
    return Lie(f"{'qform' if kind == 2 else 'sform'}_code {code}", "h", QFORM if kind == 2 else SFORM, [code], EITHER)


def any_byte(rng: np.random.Generator) -> Lie:
    """Any byte of the header."""
    place, value = int(rng.integers(352)), int(rng.integers(256))
    return Lie(f"byte {place} is {value}", "B", place, [value], ANY)


KINDS: list[Callable[[np.random.Generator], Lie]] = [
    *[dimensions, data_types, offsets, scaling, affines] * 2,
    *[magics, unused, odd_forms, any_byte],
]


def lying(roles: Sequence[Role]) -> Callable[[np.random.Generator], Inputs]:
    """Return the family of lies in the files of these roles."""

    def family(rng: np.random.Generator) -> Inputs:
        for role in itertools.cycle(roles):
            lie = draw_lie(rng)
            expect = lie.alike if role.alike else lie.expect
            if lie.name.startswith("srow_x moved") and role.name.startswith("datalist"):
                expect = EITHER  # the grids of the sequences may be compared, or not
            yield try_damage(role, lie.name, lie.damage, expect)

    return family


def swapped(rng: np.random.Generator) -> Inputs:
    """Swap the bytes of header, voxels, or both: big-endian NIfTI is sound, half of it is not."""
    for role, kind in itertools.product((ONE[3], *ALONE, *LABELS), range(3)):
        recipe = ("all bytes swapped", "the header's bytes swapped", "the voxels' bytes swapped")[kind]

        def damage(_: Place, data: bytes, kind: int = kind) -> bytes:
            raw = gzip.decompress(data)
            head = swap_header(raw[:352]) if kind != 2 else raw[:352]
            voxels = raw[352:] if kind == 1 else np.frombuffer(raw[352:], "<i2").byteswap().tobytes()
            return pack(head + voxels)

        is_image = role.name.startswith("predict")
        yield try_damage(role, recipe, damage, ANY if kind else RIGHT if is_image else EITHER)


def swap_header(header: bytes) -> bytes:
    """Swap the bytes of each field of a NIfTI-1 header."""
    import nibabel as nib

    swapped_header: bytes = nib.Nifti1Header(header[:348]).as_byteswapped(">").binaryblock
    return swapped_header + header[348:]


FAMILIES = {
    "header, one of four": (lying(ONE), 64),
    "header, all alike": (lying(ALONE), 56),
    "header, label map": (lying(LABELS), 48),
    "header, both": (lying(BOTH), 24),
    "header, datalist image": (lying(LISTED), 39),
    "header, submission": (lying([submitted()]), 16),
    "header, benchmark": (lying(SCORED), 16),
    "header, byte order": (swapped, 24),
}
