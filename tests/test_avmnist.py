"""AV-MNIST: pairs as SMIL's scripts make them, cepstral coefficients, and sounds that are really missing."""

import gzip
import json
import re
import struct
import zipfile

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import shared
from scipy.fft import idct
from scipy.io import wavfile

from metakd_monai.apps.avmnist import (
    MNIST_FILES,
    check_digests,
    digit_items,
    jitter,
    make_avmnist,
    pair_up,
    read_mnist,
    read_pairs,
    read_recordings,
    sound_to_mfcc,
    split_pairs,
)
from metakd_monai.apps.avmnist.mfcc import hertz_to_mel, mel_filters, mel_to_hertz, mfcc
from metakd_monai.apps.avmnist.sources import SPEAKERS
from metakd_monai.cli import main
from metakd_monai.errors import UserError


@pytest.fixture(scope="module")
def pairs():
    return read_pairs(None)


@pytest.fixture(scope="module")
def sources():
    """Each written digit is its own number as an image, each recording is a tone of its own length."""
    rng = np.random.default_rng(0)
    labels, test_labels = rng.permutation(np.arange(3000) % 10), rng.permutation(np.arange(1000) % 10)
    numbers, test_numbers = np.arange(3000), np.arange(1000)
    images = np.zeros((3000, 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = numbers // 256, numbers % 256
    test_images = np.zeros((1000, 28, 28), np.uint8)
    test_images[:, 0, 0], test_images[:, 0, 1] = test_numbers // 256, test_numbers % 256
    digits = dict(
        zip(MNIST_FILES, (images, labels.astype(np.uint8), test_images, test_labels.astype(np.uint8)), strict=True)
    )
    waves = {(d, s, t): np.sin(np.arange(1500 + 3 * t)) for d in range(10) for s in SPEAKERS for t in range(50)}
    return digits, waves


def number_of(image):
    return int(image[0, 0]) * 256 + int(image[0, 1])


def test_pairs_are_smil_s(sources):
    digits, waves = sources
    made = pair_up(digits, waves, "paper")
    assert made.image.shape == (1500, 28, 28)
    assert (~made.test).sum() == 1050
    for digit in range(10):
        of_class = np.flatnonzero(digits["train-labels-idx1-ubyte"] == digit)
        wanted = sorted(map(str, of_class))[:105]
        assert [str(number_of(i)) for i in made.image[(made.label == digit) & ~made.test]] == wanted
        of_class = np.flatnonzero(digits["t10k-labels-idx1-ubyte"] == digit)
        wanted = sorted(map(str, of_class))[-45:]
        assert [str(number_of(i)) for i in made.image[(made.label == digit) & made.test]] == wanted
    assert np.bincount(made.speaker[made.test]).tolist() == [150, 150, 150]
    in_pairs = {number_of(i) for i in made.image[~made.test]}
    assert not in_pairs & {number_of(i) for i in made.extra_image}
    # Takes 0 to 14 are for testing: tones of 1500 to 1542 samples, 500 to 514 of them left, one or two windows.
    first_test = np.flatnonzero(made.test)[0]
    assert np.array_equal(made.sound[first_test], sound_to_mfcc(waves[0, "jackson", 0]))
    assert np.array_equal(made.sound[0], sound_to_mfcc(waves[0, "jackson", 15]))


def test_mel_scale_is_slaney_s():
    assert hertz_to_mel(1000) == 15  # 200/3 Hz each below 1 kHz
    assert hertz_to_mel(6400) == pytest.approx(42)  # 27 steps for a factor of 6.4
    hertz = np.array([0, 300, 1000, 2500, 4000.0])
    assert mel_to_hertz(np.array([hertz_to_mel(h) for h in hertz])) == pytest.approx(hertz)
    filters = mel_filters(2048, 40)
    area = filters.sum(axis=1) * 8000 / 2048
    assert area[5:] == pytest.approx(np.ones(35), abs=0.05)  # triangles of height 2 / width have area 1


def test_a_tone_stands_where_it_should():
    wave = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    spectrum = idct(np.pad(mfcc(wave, np.array([4000]), 2048, 40)[:, 0], (0, 20)), norm="ortho")
    centres = mel_to_hertz(np.linspace(0, hertz_to_mel(4000), 42))[1:-1]
    assert abs(centres[spectrum.argmax()] - 1000) < 150


def test_front_ends_differ_as_they_say():
    wave = np.random.default_rng(0).normal(size=4000) * 0.1
    paper = sound_to_mfcc(wave)
    assert (paper[:, 3:] == 0).all()  # 1334 samples are left: windows at 0, 512 and 1024
    assert (paper[:, :3] != 0).all()
    proper = sound_to_mfcc(wave, "proper")
    assert proper.mean(axis=1) == pytest.approx(np.zeros(20), abs=1e-5)
    assert proper.std(axis=1) == pytest.approx(np.ones(20), abs=1e-3)
    with pytest.raises(ValueError, match="front_end must be one of"):
        sound_to_mfcc(wave, "other")


def test_split_is_900_150_450_and_rates_nest(pairs):
    kept = {}
    for rate in (0.05, 0.2):
        split = split_pairs(pairs, seed=1, scarce="sound", rate=rate)
        assert [len(split[part]) for part in ("training", "meta", "validation", "test")] == [900, 150, 150, 450]
        kept[rate] = {item["case_id"] for item in split["training"] if item["available"].all()}
        names = {part: {item["case_id"] for item in split[part]} for part in ("training", "meta", "test")}
        assert len(set().union(*names.values())) == 1500
        labels = torch.stack([item["label"] for item in split["meta"]])
        assert torch.bincount(labels).tolist() == [15] * 10
    assert (len(kept[0.05]), len(kept[0.2])) == (45, 180)
    assert kept[0.05] < kept[0.2]
    assert all(item["available"].tolist() == [True, False] for item in split["test"])
    assert all(item["available"].all() for item in split["test_full"])


def test_an_absent_modality_is_nan_not_zeros(pairs):
    split = split_pairs(pairs, scarce="image", rate=0.0)
    assert all(item["image"].isnan().all() and not item["sound"].isnan().any() for item in split["test"])
    assert all(item["sound"].isnan().all() for item in digit_items(pairs, test=True)[:3])
    alone = split_pairs(pairs, scarce="image", rate=0.0, modalities=["sound"])
    assert set(alone["training"][0]) == {"sound", "label", "available", "case_id"}


@pytest.mark.parametrize(
    ("options", "message"),
    [({"scarce": "smell"}, "'smell' found; expected some of image, sound"), ({"rate": 1.5}, r"rate: 1\.5 found")],
)
def test_split_refuses(pairs, options, message):
    with pytest.raises(UserError, match=message):
        split_pairs(pairs, **options)


def test_embedded_pairs_are_seeded(pairs):
    assert pairs.digest() == read_pairs(None).digest()
    assert (pairs.image.shape, pairs.sound.shape) == ((1500, 28, 28), (1500, 20, 20))


def write_idx(path, array, pack=False):
    data = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.with_name(path.name + ".gz" * pack).write_bytes(gzip.compress(data) if pack else data)


@pytest.fixture
def folder(tmp_path):
    """MNIST of blank images, partly packed, and recordings of tones in a zip file."""
    for name in MNIST_FILES:
        size = 60_000 if name.startswith("train") else 10_000
        array = np.zeros((size, 28, 28), np.uint8) if "images" in name else (np.arange(size) % 10).astype(np.uint8)
        write_idx(tmp_path / name, array, pack="labels" in name)
    with zipfile.ZipFile(tmp_path / "sounds.zip", "w") as archive:
        for digit in range(10):
            for speaker in SPEAKERS:
                for take in range(50):
                    tone = tmp_path / "tone.wav"
                    wavfile.write(tone, 8000, np.full(40 + take, digit, np.int16))
                    archive.write(tone, f"recordings/{digit}_{speaker}_{take}.wav")
    return tmp_path


def test_sources_are_checked(folder):
    arguments = ["avmnist", "--mnist", folder, "--fsdd", folder / "sounds.zip", "-o", folder / "out"]
    run = CliRunner().invoke(main, list(map(str, arguments)))
    assert (run.exit_code, run.exception.__class__) == (2, SystemExit)
    assert re.search(r"metakd: train-images-idx3-ubyte: SHA-256 .* found; expected 741c988805d008ac", run.output)
    assert not (folder / "out").exists()
    run = CliRunner().invoke(main, [*map(str, arguments), "--unchecked"])
    assert run.exit_code == 0, run.output
    manifest = json.loads((folder / "out" / "avmnist.json").read_text())
    assert read_pairs(folder / "out").digest() == manifest["sha256"]
    first = (folder / "out" / "avmnist.npz").read_bytes()
    make_avmnist(folder, folder / "sounds.zip", folder / "out", unchecked=True)
    assert (folder / "out" / "avmnist.npz").read_bytes() == first
    (folder / "out" / "avmnist.npz").write_bytes(first[:1000])
    with pytest.raises(UserError, match=r"avmnist\.npz: unreadable or truncated"):
        read_pairs(folder / "out")


def test_sources_that_cannot_be_used(folder, tmp_path):
    with pytest.raises(UserError, match=r"no_such: no such file|no_such/avmnist\.npz: no such file"):
        read_pairs(tmp_path / "no_such")
    with pytest.raises(UserError, match="cannot be read"):
        read_recordings(folder / "no_such.zip")
    with zipfile.ZipFile(folder / "few.zip", "w") as archive:
        archive.write(folder / "tone.wav", "0_theo_3.wav")
    with pytest.raises(UserError, match=r"1499 recordings missing, 0_jackson_0\.wav first"):
        read_recordings(folder / "few.zip")
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte: unreadable or truncated"):
        read_mnist(folder)
    path.unlink()
    with pytest.raises(UserError, match="no t10k-images-idx3-ubyte found"):
        read_mnist(folder)


@pytest.mark.slow
def test_real_sources_are_the_known_ones(tmp_path):
    source = shared("data", "avmnist_cc-by-sa")
    make_avmnist(source, source / "free-spoken-digit-recordings.zip", tmp_path)
    pairs = read_pairs(tmp_path)
    frames = (pairs.sound != 0).any(axis=1).sum(axis=1)
    assert (frames.min(), frames.max(), np.median(frames)) == (1, 12, 3)  # as measured before
    with pytest.raises(UserError, match="recordings: SHA-256 other"):
        check_digests({"recordings": "other"}, {"recordings": "known"})


def test_jitter_moves_what_is_there(pairs):
    image = torch.from_numpy(pairs.image[:8]).float()[:, None] / 255
    sound = torch.randn(8, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    sound[:, :, 0] *= 100  # as the first coefficient is
    sound[..., 12:] = 0
    sound[3] = torch.nan
    changed = jitter({"image": image, "sound": sound, "label": torch.arange(8)}, 1)
    assert torch.equal(changed["sound"].isnan(), sound.isnan())
    assert (changed["sound"][..., 12:].nan_to_num() == 0).all()
    moved = (changed["sound"] - sound)[[0, 1, 2, 4, 5, 6, 7]][..., :12].std(dim=(0, 1, 3))
    assert moved[1:].numpy() == pytest.approx(0.2, abs=0.06)  # shares of each coefficient's own deviation
    assert 20 < moved[0] < 40
    assert not torch.equal(changed["image"], image)
    assert torch.equal(jitter({"image": image}, 1)["image"], changed["image"])
    assert torch.equal(changed["label"], torch.arange(8))
