"""A simulated ADNI cohort: the same tables, the same shares of missing modalities, known information about the class.

It is no model of Alzheimer's disease: it only sets the distance of neighbouring classes in each modality.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metakd_monai.data.files import write_safely
from metakd_monai.errors import UserError

# Distance of neighbouring classes (CTL to MCI, MCI to AD) in standard deviations, along each modality's best direction.
SEPARATION = {"clinical": 0.8, "genomic": 2.0, "biospecimen": 0.3, "imaging": 1.4}
MISSING = {"clinical": 0.30, "genomic": 0.50, "biospecimen": 0.70, "imaging": 0.40}
CLASS_SHARES = (0.45, 0.35, 0.20)
VARIANTS, CAUSAL, COPIES = 40, 20, 2  # independent variants, those that depend on the class, copies in linkage of each


def simulate_adni(
    output: Path,
    subjects: int = 800,
    seed: int = 0,
    separation: Mapping[str, float] = SEPARATION,
    missing: Mapping[str, float] = MISSING,
) -> None:
    """Write a cohort in the form of ADNI's downloads: CSV tables with date suffixes, PLINK files, imaging features.

    Args:
        output: folder.
        subjects: with at least one modality each.
        seed: same seed, same cohort.
        separation: see SEPARATION, by modality.
        missing: share of subjects without a modality.

    Raises:
        UserError: for fewer than 40 subjects.
    """
    if subjects < 40:
        raise UserError(f"subjects: {subjects} found; expected at least 40, so that each part has each class")
    rng = np.random.default_rng(seed)
    ptids = [f"{rng.integers(2, 142):03d}_S_{number:04d}" for number in range(1, subjects + 1)]
    label = rng.choice(3, subjects, p=CLASS_SHARES)
    there = {name: rng.random(subjects) >= share for name, share in missing.items()}
    nothing = ~np.any(list(there.values()), axis=0)
    there["clinical"] |= nothing
    visits = pd.DataFrame({"PTID": ptids, "DIAGNOSIS": label + 1, "UPDATE_STAMP": "2024-01-01"})
    write_csv(output / "DXSUM_PDXCONV_01Jan2026.csv", pd.concat([visits, visits.iloc[::7]]))
    write_clinical(output, ptids, along(label, separation["clinical"], 6, rng), there["clinical"], rng)
    write_biospecimen(output, ptids, along(label, separation["biospecimen"], 3, rng), there["biospecimen"], rng)
    write_genomic(output, ptids, label, separation["genomic"], there["genomic"], rng)
    columns = along(label, separation["imaging"], 12, rng)
    imaging = pd.DataFrame(columns, columns=[f"ROI_{n:02d}" for n in range(12)]).assign(PTID=ptids)
    write_csv(output / "IMAGE_01Jan2026.csv", imaging[there["imaging"]])


def along(label: np.ndarray, separation: float, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Draw unit normal columns, moved along one random direction by ``separation`` for each class, ``(n, columns)``."""
    direction = rng.normal(size=columns)
    direction /= np.linalg.norm(direction)
    noise: np.ndarray = rng.normal(size=(len(label), columns))
    return noise + np.outer(separation * (label - 1), direction)


def write_clinical(
    output: Path, ptids: Sequence[str], values: np.ndarray, there: np.ndarray, rng: np.random.Generator
) -> None:
    """Write the five clinical tables. Columns of VITALS and NEUROEXM are informative; leaking ones must be removed."""
    size = len(ptids)
    base = pd.DataFrame({"PTID": ptids, "RID": np.arange(size), "UPDATE_STAMP": "2024-02-01"})
    tables = {
        "MEDHIST": {"MHPSYCH": rng.integers(0, 2, size), "MHSMOK": rng.integers(0, 2, size)},
        "NEUROEXM": {"NXGAIT": values[:, 0], "NXTREMOR": values[:, 1], "NXVISUAL": rng.integers(1, 3, size)},
        "PTDEMOG": {
            "PTGENDER": rng.integers(1, 3, size),
            "PTEDUCAT": rng.integers(8, 21, size),
            "PTWORK": rng.choice(["teacher", "clerk", "farmer"], size),
            "PTCOGBEG": 2000 + rng.integers(0, 9, size),
            "PTADDX": 2005 + rng.integers(0, 9, size),
        },
        "RECCMEDS": {"CMMED": rng.choice(["Aspirin", "Donepezil", "-4"], size)},
        "VITALS": {
            "VSPULSE": 70 + 8 * values[:, 2],
            "VSWEIGHT": 75 + 12 * values[:, 3],
            "VSBPSYS": 130 + 15 * values[:, 4],
            "VSTEMP": 36.6 + 0.3 * values[:, 5],
        },
    }
    for name, columns in tables.items():
        rows = pd.concat([base, pd.DataFrame(columns)], axis=1)[there]
        write_csv(output / f"{name}_01Jan2026.csv", rows)


def write_biospecimen(
    output: Path, ptids: Sequence[str], values: np.ndarray, there: np.ndarray, rng: np.random.Generator
) -> None:
    """Write APOERES (without information) and the Elecsys table, with texts such as ``>1700`` in one column."""
    size = len(ptids)
    apoe = pd.DataFrame({"PTID": ptids, "APGEN1": rng.integers(2, 5, size), "APGEN2": rng.integers(2, 5, size)})
    write_csv(output / "APOERES_01Jan2026.csv", apoe[there])
    abeta = [f"{value:.1f}" if value < 1700 else ">1700" for value in 1000 + 300 * values[:, 0]]
    csf = pd.DataFrame({"PTID": ptids, "ABETA42": abeta, "TAU": 250 + 80 * values[:, 1], "PTAU": 24 + 8 * values[:, 2]})
    write_csv(output / "UPENNBIOMK_ROCHE_ELECSYS_01Jan2026.csv", csf[there])


def write_genomic(
    output: Path,
    ptids: Sequence[str],
    label: np.ndarray,
    separation: float,
    there: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Write PLINK files of variants in linkage; the causal ones' frequency rises with the class.

    A count of variance ``2 p (1 - p)`` moved by ``2 d`` adds ``2 d**2 / (p (1 - p))`` to the squared separation.
    """
    from bed_reader import to_bed

    frequency = rng.uniform(0.3, 0.6, VARIANTS)
    shift = np.zeros(VARIANTS)
    shift[:CAUSAL] = separation * np.sqrt(frequency[:CAUSAL] * (1 - frequency[:CAUSAL]) / (2 * CAUSAL))
    chance = np.clip(frequency + np.outer(label - 1, shift), 0.01, 0.99)
    counts = np.repeat(rng.binomial(2, chance), 1 + COPIES, axis=1).astype(float)
    copied = np.arange(counts.shape[1]) % (1 + COPIES) > 0
    mutated = (rng.random(counts.shape) < 0.02) & copied
    counts[mutated] = rng.integers(0, 3, mutated.sum())
    counts[rng.random(counts.shape) < 0.01] = np.nan
    names = [ptid for ptid, kept in zip(ptids, there, strict=True) if kept]
    size = counts.shape[1]
    properties = {
        "iid": names,
        "sid": [f"rs{n}" for n in range(size)],
        "chromosome": [str(1 + n * 22 // size) for n in range(size)],
        "bp_position": list(range(1, size + 1)),
    }
    output.mkdir(parents=True, exist_ok=True)
    to_bed(output / "genomic.bed", counts[there], properties=properties, num_threads=1)


def write_csv(path: Path, rows: pd.DataFrame) -> None:
    """Write a table whole or not at all."""
    write_safely(path, lambda temporary: rows.to_csv(temporary, index=False, lineterminator="\n"))
