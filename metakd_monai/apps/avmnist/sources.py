"""The sources of AV-MNIST: MNIST's idx files and the recordings of the Free Spoken Digit Dataset."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from scipy.io import wavfile

from metakd_monai.apps.avmnist.mfcc import RATE
from metakd_monai.errors import UserError

SPEAKERS = ("jackson", "nicolas", "theo")  # the three of v1.0.8, which SMIL used
TAKES = 50
MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
RECORDING = re.compile(r"(\d)_([a-z]+)_(\d+)\.wav")
# SHA-256 of what was read: MNIST's arrays in this order, and the recordings in the order of their names.
KNOWN = {
    "train-images-idx3-ubyte": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "train-labels-idx1-ubyte": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "t10k-images-idx3-ubyte": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "t10k-labels-idx1-ubyte": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    "recordings": "c15401c8101ffd46ec5b9d13f6bc92597b6df83a69b1c4bfe90fbd8dcd864143",
}


def read_mnist(folder: Path) -> dict[str, np.ndarray]:
    """Read the four idx files of MNIST, packed (``.gz``) or not.

    Returns:
        uint8 images ``(n, 28, 28)`` and labels ``(n,)`` by file name, of 60,000 and of 10,000 digits.

    Raises:
        UserError: for files that are missing, damaged, or hold something else.
    """
    arrays = {name: read_idx(folder, name) for name in MNIST_FILES}
    for name, size in (("train", 60_000), ("t10k", 10_000)):
        images, labels = arrays[f"{name}-images-idx3-ubyte"], arrays[f"{name}-labels-idx1-ubyte"]
        if images.shape != (size, 28, 28) or labels.shape != (size,):
            found = f"{images.shape} images and {labels.shape} labels"
            raise UserError(f"{folder}: {name}: {found} found; expected {size} images of 28x28 and as many labels")
    return arrays


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Read one idx file of bytes; raises UserError when it is missing or damaged."""
    spellings = [name, f"{name}.gz", name.replace("-idx", ".idx"), f"{name.replace('-idx', '.idx')}.gz"]
    path = next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)
    if path is None:
        raise UserError(f"{folder}: no {name} found; expected the four idx files of MNIST, packed (.gz) or not")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, axes = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{axes}I", data[4 : 4 + 4 * axes])
        if (zeros, kind) != (0, 8):
            raise ValueError("no idx file of bytes")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise UserError(f"{path}: unreadable or truncated, expected an idx file of MNIST ({error})") from None


def read_recordings(source: Path) -> dict[tuple[int, str, int], np.ndarray]:
    """Read the 1,500 recordings of the three speakers.

    Args:
        source: a folder that holds the wav files at any depth, or a zip file of them.

    Returns:
        Samples in -1..1 by digit, speaker and take.

    Raises:
        UserError: for recordings that are missing, damaged, or not 8 kHz mono.
    """
    waves = {}
    for name, data in sorted(wav_files(source).items()):
        match = RECORDING.fullmatch(name)
        if match and match[2] in SPEAKERS and int(match[3]) < TAKES:
            waves[int(match[1]), match[2], int(match[3])] = read_wave(data, f"{source}: {name}")
    expected = {(digit, speaker, take) for digit in range(10) for speaker in SPEAKERS for take in range(TAKES)}
    missing = sorted(expected - set(waves))
    if missing:
        first = "{}_{}_{}.wav".format(*missing[0])
        raise UserError(f"{source}: {len(missing)} recordings missing, {first} first; expected those of FSDD v1.0.8")
    return waves


def wav_files(source: Path) -> dict[str, bytes]:
    """Return the bytes of all wav files of a folder or a zip file, by name."""
    if source.is_dir():
        return {path.name: path.read_bytes() for path in source.rglob("*.wav")}
    try:
        with zipfile.ZipFile(source) as archive:
            return {Path(name).name: archive.read(name) for name in archive.namelist() if name.endswith(".wav")}
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{source}: cannot be read ({error}); expected a folder or zip file of recordings") from None


def read_wave(data: bytes, where: str) -> np.ndarray:
    """Read the samples of one recording, ``(T,)`` in -1..1."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of no interest
            rate, samples = wavfile.read(io.BytesIO(data))
    except (ValueError, EOFError, struct.error) as error:
        raise UserError(f"{where}: unreadable or truncated, expected a wav file ({error})") from None
    if rate != RATE or samples.dtype != np.int16 or samples.ndim != 1 or len(samples) < 2:
        raise UserError(f"{where}: {rate} Hz, {samples.dtype}, shape {samples.shape} found; expected 8 kHz mono 16 bit")
    return np.asarray(samples, np.float64) / 32768


def digests(mnist: Mapping[str, np.ndarray], waves: Mapping[tuple[int, str, int], np.ndarray]) -> dict[str, str]:
    """Return SHA-256 of each array of MNIST and of all recordings together."""
    found = {name: hashlib.sha256(mnist[name].tobytes()).hexdigest() for name in MNIST_FILES}
    sounds = hashlib.sha256()
    for key in sorted(waves):
        sounds.update((waves[key] * 32768).astype("<i2").tobytes())
    return found | {"recordings": sounds.hexdigest()}


def check_digests(found: Mapping[str, str], known: Mapping[str, str] = KNOWN) -> None:
    """Raise UserError when a source differs from the one behind the bundle's tables."""
    other = [name for name, digest in known.items() if found[name] != digest]
    if other:
        raise UserError(
            f"{other[0]}: SHA-256 {found[other[0]][:16]}... found; expected {known[other[0]][:16]}... "
            "(--unchecked takes it all the same, for a table of its own)"
        )
