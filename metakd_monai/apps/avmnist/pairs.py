"""AV-MNIST: 1,500 pairs of a written and a spoken digit, from the real sources or an embedded stand-in."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import zoom

from metakd_monai import __version__
from metakd_monai.apps.avmnist.mfcc import RATE, sound_to_mfcc
from metakd_monai.apps.avmnist.sources import SPEAKERS, TAKES, check_digests, digests, read_mnist, read_recordings
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.errors import UserError

DIGITS = 10
TEST_TAKES = 15  # takes 0 to 14 of each digit and speaker are for testing
TRAINING_PAIRS = len(SPEAKERS) * (TAKES - TEST_TAKES)  # of each digit, 105
TEST_PAIRS = len(SPEAKERS) * TEST_TAKES  # of each digit, 45
EXTRA_DIGITS = 10_000  # of MNIST's training images that are in no pair, for choosing settings
FILE, MANIFEST = "avmnist.npz", "avmnist.json"


@dataclass(frozen=True)
class Pairs:
    """Pairs in a fixed order: digit after digit, those for training first.

    ``image`` ``(1500, 28, 28)`` uint8, ``sound`` ``(1500, 20, 20)`` float32, ``label`` ``(1500,)``, ``speaker``
    ``(1500,)`` 0 to 2, ``test`` ``(1500,)`` bool. Digits without a sound: ``extra_image`` and ``extra_label`` are
    by the writers of the training digits, for choosing settings; ``test_image`` and ``test_label`` are the
    whole test set of MNIST.
    """

    image: np.ndarray
    sound: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    test: np.ndarray
    extra_image: np.ndarray
    extra_label: np.ndarray
    test_image: np.ndarray
    test_label: np.ndarray

    def digest(self) -> str:
        """Return SHA-256 of all arrays."""
        total = hashlib.sha256()
        for array in asdict(self).values():
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def make_avmnist(
    mnist: Path, fsdd: Path, output: Path, front_end: str = "paper", unchecked: bool = False
) -> dict[str, Any]:
    """Make AV-MNIST from its sources as SMIL's scripts do, and write ``avmnist.npz`` and ``avmnist.json``.

    Args:
        mnist: folder of the four idx files.
        fsdd: folder or zip file of the recordings of the Free Spoken Digit Dataset.
        output: folder.
        front_end: see :func:`~metakd_monai.apps.avmnist.mfcc.sound_to_mfcc`.
        unchecked: accept sources with unknown checksums.

    Returns:
        The manifest: checksums of sources and result, version, front end, sizes.

    Raises:
        UserError: for sources that are missing, damaged or unexpected.
    """
    digits, waves = read_mnist(mnist), read_recordings(fsdd)
    found = digests(digits, waves)
    if not unchecked:
        check_digests(found)
    pairs = pair_up(digits, waves, front_end)
    manifest = {
        "version": __version__,
        "data": "AV-MNIST: MNIST (CC BY-SA 3.0) and Free Spoken Digit Dataset v1.0.8 (CC BY-SA 4.0)",
        "front_end": front_end,
        "pairs": {"training and validation": int((~pairs.test).sum()), "test": int(pairs.test.sum())},
        "sources": found,
        "sha256": pairs.digest(),
    }
    write_safely(output / FILE, lambda path: write_arrays(path, pairs))
    write_json(output / MANIFEST, manifest)
    return manifest


def write_arrays(path: Path, pairs: Pairs) -> None:
    """Write all arrays; the same arrays give the same bytes."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, **asdict(pairs))


def pair_up(
    digits: Mapping[str, np.ndarray], waves: Mapping[tuple[int, str, int], np.ndarray], front_end: str
) -> Pairs:
    """Pair digits and recordings.

    Of each class: images in the order of their numbers *as strings*, the first 105 of MNIST's training and the last 45
    of its test images; recordings in the order of their file names, takes 15 to 49 for training and 0 to 14 for
    testing; the j-th with the j-th.
    """
    images, labels = digits["train-images-idx3-ubyte"], digits["train-labels-idx1-ubyte"]
    test_images, test_labels = digits["t10k-images-idx3-ubyte"], digits["t10k-labels-idx1-ubyte"]
    rows = []
    used = np.zeros(len(labels), bool)
    for test in (False, True):
        for digit in range(DIGITS):
            if test:
                chosen = by_name(test_labels, digit)[-TEST_PAIRS:]
            else:
                chosen = by_name(labels, digit)[:TRAINING_PAIRS]
                used[chosen] = True
            keys = [key for key in waves if key[0] == digit and (key[2] < TEST_TAKES) == test]
            keys.sort(key=lambda key: "{}_{}_{}.wav".format(*key))
            for index, key in zip(chosen, keys, strict=True):
                sound = sound_to_mfcc(waves[key], front_end)
                rows.append(((test_images if test else images)[index], sound, digit, SPEAKERS.index(key[1]), test))
    extra = np.random.default_rng(0).permutation(np.flatnonzero(~used))[:EXTRA_DIGITS]
    return Pairs(
        **columns_of(rows),
        extra_image=images[extra],
        extra_label=labels[extra],
        test_image=test_images,
        test_label=test_labels,
    )


def columns_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, np.ndarray]:
    """Return the arrays of pairs given one by one as ``(image, sound, label, speaker, test)``."""
    names = ("image", "sound", "label", "speaker", "test")
    return dict(zip(names, map(np.stack, zip(*rows, strict=True)), strict=True))


def by_name(labels: np.ndarray, digit: int) -> list[int]:
    """List the indices of a class in the order of their numbers as strings, as files named after them lie."""
    return sorted((int(index) for index in np.flatnonzero(labels == digit)), key=str)


def read_pairs(source: str | Path | None) -> Pairs:
    """Read what ``metakd avmnist`` wrote, or make the embedded stand-in.

    Args:
        source: the folder; None for :func:`embedded_pairs`.

    Raises:
        UserError: when it is missing or damaged, or its checksum differs from its manifest.
    """
    if source is None:
        return embedded_pairs()
    path = Path(source) / FILE
    try:
        with np.load(path) as arrays:
            pairs = Pairs(**{name: arrays[name] for name in arrays.files})
        manifest = json.loads((Path(source) / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: no such file; expected a folder that `metakd avmnist` wrote") from None
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: unreadable or truncated; expected what `metakd avmnist` wrote ({error})") from None
    if manifest.get("sha256") != pairs.digest():
        raise UserError(f"{path}: its checksum is not that of {MANIFEST}; make it anew with `metakd avmnist`")
    return pairs


def embedded_pairs(seed: int = 0) -> Pairs:
    """Make pairs without a download, a stand-in for AV-MNIST: scikit-learn's written digits (UCI, 8x8) and tones.

    Numbers and shapes are AV-MNIST's, so that everything can be tried; results on it say nothing about AV-MNIST.

    Raises:
        UserError: without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError("scikit-learn: not installed; expected the extra metakd-monai[classification]") from None
    rng = np.random.default_rng(seed)
    data, labels = load_digits(return_X_y=True)
    small = data.reshape(-1, 8, 8) / 16
    images = (255 * np.stack([np.clip(zoom(image, 3.5, order=1), 0, 1) for image in small])).astype(np.uint8)
    rows = []
    used = np.zeros(len(labels), bool)
    for test, start, end in ((False, 0, TRAINING_PAIRS), (True, TRAINING_PAIRS, TRAINING_PAIRS + TEST_PAIRS)):
        for digit in range(DIGITS):
            for place, index in enumerate(np.flatnonzero(labels == digit)[start:end]):
                speaker = place % len(SPEAKERS)
                sound = sound_to_mfcc(synthesise(digit, speaker, rng), "proper")
                rows.append((images[index], sound, digit, speaker, test))
                used[index] = True
    columns = columns_of(rows)
    return Pairs(
        **columns,
        extra_image=images[~used],
        extra_label=labels[~used],
        test_image=columns["image"][columns["test"]],
        test_label=columns["label"][columns["test"]],
    )


def synthesise(digit: int, speaker: int, rng: np.random.Generator) -> np.ndarray:
    """Make a sound of 0.3 to 0.5 s for a digit: two tones in turn, of the speaker's pitch, in noise."""
    time = np.arange(int(RATE * rng.uniform(0.3, 0.5))) / RATE
    pitch = (1 + 0.15 * speaker) * rng.normal(1, 0.08)
    start, end = 300 + 140 * (digit % 5), 400 + 500 * (digit // 5) + 60 * (digit % 3)
    share = time / time[-1]
    tone = (1 - share) * np.sin(2 * np.pi * start * pitch * time) + share * np.sin(2 * np.pi * end * pitch * time)
    wave = np.sin(np.pi * share) * tone + rng.normal(0, 0.5, len(time))
    return np.asarray(wave / np.abs(wave).max() * 0.8)
