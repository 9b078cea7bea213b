"""SMOTE for samples that lack modalities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from imblearn.over_sampling import SMOTE

NEIGHBOURS = 5


def oversample(arrays: Mapping[str, np.ndarray], modalities: Sequence[str], seed: int) -> dict[str, np.ndarray]:
    """Add synthetic samples of rare classes to the training part until its classes are as large as the largest.

    SMOTE interpolates between neighbours, so both need the same modalities. It works within groups of samples with
    exactly the same modalities, concatenated; so no sample gets a modality that it lacks. In each group, each class
    grows to the size of the group's largest class. A class of n samples uses min(5, n - 1) neighbours; a class of one
    sample is left as it is.

    Args:
        arrays: see :func:`~metakd_monai.apps.adni.prepare.prepare_adni`; ``part`` 0 is for training.
        modalities: names of the modalities' arrays.
        seed: of the draws.

    Returns:
        Arrays with the synthetic samples at the end.
    """
    new: dict[str, list[np.ndarray]] = {name: [] for name in arrays}
    training = arrays["part"] == 0
    for pattern in np.unique(arrays["available"][training], axis=0):
        group = np.flatnonzero(training & (arrays["available"] == pattern).all(axis=1))
        present = [name for name, there in zip(modalities, pattern, strict=True) if there]
        joined = np.concatenate([arrays[name][group].reshape(len(group), -1) for name in present], axis=1)
        made, labels = smote(joined, arrays["label"][group], seed)
        start = 0
        for name in modalities:
            shape = (len(made), *arrays[name].shape[1:])
            width = int(np.prod(shape[1:]))
            block = made[:, start : start + width] if name in present else np.full((len(made), width), np.nan)
            new[name].append(block.reshape(shape).astype(np.float32))
            start += width if name in present else 0
        new["available"].append(np.tile(pattern, (len(made), 1)))
        new["label"].append(labels)
        new["part"].append(np.zeros(len(made), arrays["part"].dtype))
        new["ptid"].append(np.array([f"synthetic_{n}" for n in range(len(made))], arrays["ptid"].dtype))
        new["synthetic"].append(np.ones(len(made), bool))
    return {name: np.concatenate([values, *new[name]]) for name, values in arrays.items()}


def smote(rows: np.ndarray, labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic rows and their classes, one class after the other."""
    counts = np.bincount(labels)
    made, classes = [rows[:0]], [labels[:0]]
    for code in np.flatnonzero((counts > 1) & (counts < counts.max())):
        pair = np.isin(labels, (code, counts.argmax()))
        sampler = SMOTE(
            sampling_strategy={int(code): int(counts.max())},
            k_neighbors=min(NEIGHBOURS, int(counts[code]) - 1),
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            grown, names = sampler.fit_resample(rows[pair], labels[pair])
        made.append(grown[pair.sum() :])
        classes.append(names[pair.sum() :])
    return np.concatenate(made), np.concatenate(classes)
