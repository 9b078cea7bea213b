"""``metakd adni-prepare``: from ADNI's tables to arrays in -1..1 with availability, in three parts."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from metakd_monai import __version__
from metakd_monai.apps.adni.oversample import oversample
from metakd_monai.apps.adni.subjects import FITTED, CohortEncoder, read_encoder, read_raw_cohort
from metakd_monai.apps.adni.tables import CLASSES, DIAGNOSIS, find_table, read_diagnoses
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)

MODALITIES = ("clinical", "genomic", "biospecimen", "imaging")  # Table 2's order: C, G, B, I
PARTS = ("training", "validation", "test")
SHARES = (0.70, 0.15, 0.15)
SPLIT_KEYS = {"training": "training", "validation": "validation", "testing": "test", "test": "test"}
FILE, MANIFEST = "adni.npz", "adni.json"


def prepare_adni(
    raw: Path, output: Path, seed: int = 0, splits: Path | None = None, smote: bool = True
) -> dict[str, Any]:
    """Read, split, encode and write a cohort.

    Written are ``adni.npz`` (for each modality ``(subjects, L)`` or ``(subjects, 1, *S)``; ``available`` ``(subjects,
    4)``; ``label``; ``part``, an index into PARTS; ``ptid``; ``synthetic``), ``adni.json``: what was done, and
    ``fitted.joblib``: the encoder for :func:`encode_adni`.

    Args:
        raw: folder of ADNI's downloads, see :mod:`metakd_monai.apps.adni.tables`, ``genomic`` and ``imaging``.
        output: folder.
        seed: of the split and of SMOTE.
        splits: JSON of PTIDs by part (``training``, ``validation``, ``testing``) in place of the random split.
        smote: fill up rare classes of the training part with SMOTE, k = 5.

    Returns:
        The manifest.

    Raises:
        UserError: for unusable tables, see there, and for parts that lack a class.
    """
    diagnoses = read_diagnoses(raw)
    cohort = read_raw_cohort(raw, list(map(str, diagnoses.index)))
    kept = sorted(set().union(*cohort.members().values()))
    label = diagnoses[kept].to_numpy()
    part = split_subjects(kept, label, seed) if splits is None else read_splits(splits, kept)
    check_classes(label, part, splits or raw)
    training = [ptid for ptid, number in zip(kept, part, strict=True) if number == PARTS.index("training")]
    for name, ptids in cohort.members().items():
        require_training(name, set(ptids) & set(training), raw)
    encoder = CohortEncoder(cohort, training)
    arrays = lay_out(cohort.members(), encoder(cohort), kept)
    arrays |= {"label": label, "part": part, "ptid": np.array(kept), "synthetic": np.zeros(len(kept), bool)}
    if smote:
        arrays = oversample(arrays, MODALITIES, seed)
    manifest = describe(arrays, encoder, len(cohort.chromosomes))
    manifest |= {"seed": seed, "smote": "k = 5, within subjects of the same modalities" if smote else "none"}
    encoder.write(output / FITTED)
    write_safely(output / FILE, lambda path: write_arrays(path, arrays))
    write_json(output / MANIFEST, manifest)
    return manifest


def encode_adni(raw: Path, output: Path, fitted: Path) -> dict[str, Any]:
    """Encode new subjects with the encoder of another cohort, all for testing. Writes the same two files.

    Args:
        raw: folder as for :func:`prepare_adni`; a modality may be missing altogether. Without diagnoses all subjects
            are encoded, with label -1; otherwise those with a diagnosis.
        output: folder.
        fitted: ``fitted.joblib`` of :func:`prepare_adni`.

    Returns:
        The manifest.

    Raises:
        UserError: for tables that are unusable or do not fit, and when no subject is left.
    """
    encoder = read_encoder(fitted)
    diagnoses = read_diagnoses(raw) if find_table(raw, DIAGNOSIS) else None
    cohort = read_raw_cohort(raw, None if diagnoses is None else list(map(str, diagnoses.index)), whole=False)
    kept = sorted(set().union(*cohort.members().values()))
    if not kept:
        raise UserError(f"{raw}: no subject found; expected ADNI's tables of at least one modality")
    label = np.full(len(kept), -1) if diagnoses is None else diagnoses[kept].to_numpy()
    arrays = lay_out(cohort.members(), encoder(cohort), kept)
    part = np.full(len(kept), PARTS.index("test"))
    arrays |= {"label": label, "part": part, "ptid": np.array(kept), "synthetic": np.zeros(len(kept), bool)}
    manifest = describe(arrays, encoder, len(cohort.chromosomes))
    write_safely(output / FILE, lambda path: write_arrays(path, arrays))
    write_json(output / MANIFEST, manifest)
    return manifest


def split_subjects(subjects: list[str], label: np.ndarray, seed: int) -> np.ndarray:
    """Split 70/15/15 with each class in each part, by seed and PTIDs alone; indices into PARTS."""
    counts = np.bincount(label, minlength=len(CLASSES))
    for name, count in zip(CLASSES, counts, strict=True):
        if count < 7:
            raise UserError(f"{count} subjects of class {name} found; expected at least 7, for all three parts")
    places = np.arange(len(subjects))
    training, rest = train_test_split(places, train_size=SHARES[0], random_state=seed, stratify=label)
    _, test = train_test_split(rest, test_size=0.5, random_state=seed, stratify=label[rest])
    part = np.full(len(subjects), PARTS.index("validation"))
    part[training], part[test] = PARTS.index("training"), PARTS.index("test")
    return part


def read_splits(path: Path, subjects: list[str]) -> np.ndarray:
    """Read a split from JSON; raises UserError when it leaves a subject out or names one twice."""
    try:
        lists = json.loads(path.read_text())
        given = [(str(ptid), PARTS.index(SPLIT_KEYS[key])) for key, ptids in lists.items() for ptid in ptids]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path}: unreadable ({error}); expected PTIDs under training, validation and testing"
        ) from None
    places = dict(given)
    if len(places) < len(given):
        raise UserError(f"{path}: a subject stands in it twice; expected disjoint parts")
    missing = [ptid for ptid in subjects if ptid not in places]
    if missing:
        raise UserError(f"{path}: {len(missing)} subjects are in no part ({missing[0]} first); expected all")
    return np.array([places[ptid] for ptid in subjects])


def check_classes(label: np.ndarray, part: np.ndarray, where: Path) -> None:
    """Raise UserError when a part lacks a class."""
    for number, name in enumerate(PARTS):
        found = set(label[part == number].tolist())
        if len(found) < len(CLASSES):
            have = ", ".join(CLASSES[code] for code in sorted(found)) or "nobody"
            raise UserError(f"{where}: the {name} part has {have} alone; expected each of {', '.join(CLASSES)} in it")


def require_training(name: str, training: Collection[str], where: Path) -> None:
    """Raise UserError when no subject of the training part has a modality."""
    if not training:
        raise UserError(f"{where}: nobody of the training part has {name}; expected at least one subject")


def lay_out(
    members: Mapping[str, Sequence[str]], encoded: Mapping[str, np.ndarray], subjects: Sequence[str]
) -> dict[str, np.ndarray]:
    """Put each modality's rows in the places of their subjects; the rest is NaN and not available."""
    arrays, available = {}, np.zeros((len(subjects), len(MODALITIES)), bool)
    place = {ptid: number for number, ptid in enumerate(subjects)}
    for n, name in enumerate(MODALITIES):
        rows = [place[ptid] for ptid in members[name]]
        arrays[name] = np.full((len(subjects), *encoded[name].shape[1:]), np.nan, np.float32)
        arrays[name][rows] = encoded[name]
        available[rows, n] = True
    return {**arrays, "available": available}


def describe(arrays: Mapping[str, np.ndarray], encoder: CohortEncoder, variants: int) -> dict[str, Any]:
    """Return the content of ``adni.json`` on the subjects; ``variants`` were read."""
    real = ~arrays["synthetic"]
    digest = hashlib.sha256()
    for name in (*MODALITIES, "available", "label", "part"):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    counts = {
        part: {
            name: int((real & (arrays["part"] == n) & (arrays["label"] == c)).sum()) for c, name in enumerate(CLASSES)
        }
        for n, part in enumerate(PARTS)
    }
    share = 1 - arrays["available"][real].mean(axis=0)
    return {
        "version": __version__,
        "subjects": counts,
        "undiagnosed": int((arrays["label"] < 0).sum()),
        "synthetic": int(arrays["synthetic"].sum()),
        "missing": {name: round(float(value), 4) for name, value in zip(MODALITIES, share, strict=True)},
        "shapes": {name: list(arrays[name].shape[1:]) for name in MODALITIES},
        "variants": {"read": variants, "kept": int(arrays["genomic"].shape[1])},
        "columns": encoder.columns,
        "sha256": digest.hexdigest(),
    }


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write all arrays; the same arrays give the same bytes."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
