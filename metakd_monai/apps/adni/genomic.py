"""Genotypes: PLINK files or a 0/1/2 matrix, and pruning by linkage disequilibrium."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metakd_monai.apps.adni.tables import NothingFoundError, find_table, keep_subjects, latest_rows, read_table
from metakd_monai.errors import UserError

PREFIX = "GENOMIC"
WINDOW, STEP, LIMIT = 50, 5, 0.1  # plink --indep-pairwise 50 5 0.1


def read_genotypes(raw: Path, subjects: Sequence[str] | None) -> tuple[pd.DataFrame, np.ndarray]:
    """Read counts of the counted allele from ``*.bed`` (with .bim and .fam), ``*.raw`` or ``GENOMIC*.csv``.

    PLINK files of several studies must be merged first (``plink --merge-list``), on one build of the genome.

    Args:
        raw: folder, searched at any depth.
        subjects: PTIDs to keep, those with a diagnosis; None for all.

    Returns:
        0, 1, 2 or NaN, variants by PTID; and each variant's chromosome, ``(V,)`` (all alike for a matrix). PLINK's
        variants are called as ``plink --recode A`` calls them, by name and counted allele: ``rs123_A``.

    Raises:
        NothingFoundError: for no such file.
        UserError: for several such files, damaged ones, values that are no counts, duplicate subjects, or
            subjects of another cohort.
    """
    beds = [*sorted(raw.rglob("*.bed")), *sorted(raw.rglob("*.raw"))]
    if len(beds) > 1:
        raise UserError(
            f"{raw}: {len(beds)} PLINK files found ({beds[0].name}, ...); expected one: merge them with plink"
        )
    path = beds[0] if beds else find_table(raw, PREFIX)
    if path is None:
        raise NothingFoundError(
            f"{raw}: no genotypes found; expected one .bed with .bim and .fam, .raw, or {PREFIX}*.csv"
        )
    if path.suffix == ".bed":
        rows, chromosomes = read_bed(path)
    elif path.suffix == ".raw":
        rows = read_raw(path)
        chromosomes = np.full(rows.shape[1], "0")
    else:
        rows = latest_rows(read_table(path), path)
        chromosomes = np.full(rows.shape[1], "0")
    if rows.index.has_duplicates:
        twice = rows.index[rows.index.duplicated()][0]
        raise UserError(f"{path}: PTID {twice} found twice; expected each subject once")
    values = rows.apply(pd.to_numeric, errors="coerce").astype(np.float32)
    if not values.isin([0, 1, 2]).where(values.notna(), True).all(axis=None) or (values.isna() & rows.notna()).any(
        axis=None
    ):
        raise UserError(f"{path}: values other than 0, 1 and 2 found; expected counts of an allele")
    return keep_subjects(values, subjects, path), chromosomes


def read_bed(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a PLINK triple; the individual's id is the PTID."""
    from bed_reader import open_bed

    try:
        with open_bed(path, num_threads=1) as bed:
            values = bed.read(dtype="float32")
            names = [f"{name}_{allele}" for name, allele in zip(bed.sid, bed.allele_1, strict=True)]
            return pd.DataFrame(values, index=list(map(str, bed.iid)), columns=names), bed.chromosome
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: unreadable, expected a PLINK file with .bim and .fam ({error})") from None


def read_raw(path: Path) -> pd.DataFrame:
    """Read what ``plink --recode A`` wrote."""
    table = pd.read_csv(path, sep=r"\s+")
    if "IID" not in table:
        raise UserError(f"{path}: no column IID found; expected what `plink --recode A` writes")
    plain = [name for name in table if name not in ("FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE")]
    return table.set_index(table["IID"].astype(str))[plain]


def prune(counts: np.ndarray, chromosomes: np.ndarray) -> np.ndarray:
    """Choose variants that are nearly independent, as ``plink --indep-pairwise 50 5 0.1`` does.

    Constant variants are removed first. Then, in each window of 50 variants, moved by 5 within a chromosome, the
    variant with the rarer minor allele is removed from each pair whose squared correlation exceeds 0.1.

    Args:
        counts: 0, 1, 2 or NaN, ``(subjects, V)``, of the training part alone; NaN counts as the variant's mean.
        chromosomes: of the variants, ``(V,)``.

    Returns:
        ``(V,)`` bool, True for variants that stay.
    """
    seen = ~np.isnan(counts).all(axis=0)
    mean = np.nanmean(np.where(seen, counts, 0), axis=0)
    centred = np.where(np.isnan(counts), 0, counts - mean)
    length = np.sqrt((centred**2).sum(axis=0))
    stays = seen & (length > 1e-6)
    unit = centred / np.where(stays, length, 1)
    rarity = np.minimum(mean, 2 - mean)
    for chromosome in dict.fromkeys(chromosomes.tolist()):
        places = np.flatnonzero(chromosomes == chromosome)
        for start in range(0, max(1, len(places) - WINDOW + STEP), STEP):
            thin_out(places[start : start + WINDOW], unit, rarity, stays)
    return np.asarray(stays)


def thin_out(window: np.ndarray, unit: np.ndarray, rarity: np.ndarray, stays: np.ndarray) -> None:
    """Remove correlated variants of one window from ``stays``."""
    members = window[stays[window]]
    squared = (unit[:, members].T @ unit[:, members]) ** 2
    for first, second in np.argwhere(np.triu(squared > LIMIT, k=1)):
        one, other = members[first], members[second]
        if stays[one] and stays[other]:
            stays[one if rarity[one] < rarity[other] else other] = False
