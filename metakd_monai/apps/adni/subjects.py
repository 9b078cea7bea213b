"""The four modalities of a cohort as read, and their encoder, which is kept for new subjects."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from metakd_monai import __version__
from metakd_monai.apps.adni.encode import MapScaler, TableEncoder, VectorScaler
from metakd_monai.apps.adni.genomic import prune, read_genotypes
from metakd_monai.apps.adni.imaging import read_imaging
from metakd_monai.apps.adni.tables import TABLES, NothingFoundError, read_group
from metakd_monai.data.files import write_safely
from metakd_monai.errors import UserError

FITTED = "fitted.joblib"


@dataclass(frozen=True)
class RawCohort:
    """The rows of each subject in each modality, by PTID.

    ``tables`` hold numbers and texts, ``genotypes`` counts of alleles with ``chromosomes`` ``(V,)``, ``images``
    ``(subjects, L)`` or ``(subjects, 1, *S)`` of the subjects ``scanned``.
    """

    tables: dict[str, pd.DataFrame]
    genotypes: pd.DataFrame
    chromosomes: np.ndarray
    scanned: list[str]
    images: np.ndarray

    def members(self) -> dict[str, list[str]]:
        """List each modality's subjects."""
        tables = {name: list(map(str, table.index)) for name, table in self.tables.items()}
        return {**tables, "genomic": list(map(str, self.genotypes.index)), "imaging": self.scanned}


def read_raw_cohort(raw: Path, subjects: Sequence[str] | None, whole: bool = True) -> RawCohort:
    """Read all modalities.

    Args:
        raw: folder, see :mod:`metakd_monai.apps.adni.tables`, ``genomic`` and ``imaging``.
        subjects: PTIDs to keep; None for all.
        whole: False if a modality may be missing altogether.

    Raises:
        UserError: for unreadable files, and for a missing modality if it is required.
    """

    def read(reader: Any, *arguments: Any, otherwise: Any) -> Any:
        try:
            return reader(raw, *arguments, subjects)
        except NothingFoundError:
            if whole:
                raise
            return otherwise

    nothing = pd.DataFrame(index=pd.Index([], dtype=str))
    tables = {name: read(read_group, name, otherwise=nothing) for name in TABLES}
    genotypes, chromosomes = read(read_genotypes, otherwise=(nothing, np.array([])))
    scanned, images = read(read_imaging, otherwise=([], np.zeros((0, 0), np.float32)))
    return RawCohort(tables, genotypes, chromosomes, scanned, images)


class CohortEncoder:
    """Encode all modalities, as fitted on the training part of one cohort.

    Args:
        cohort: to fit on.
        training: PTIDs of the training part, at least one with each modality.
    """

    def __init__(self, cohort: RawCohort, training: Sequence[str]) -> None:
        chosen = set(training)
        known = {name: np.array([ptid in chosen for ptid in ptids]) for name, ptids in cohort.members().items()}
        self.version = __version__
        self.tables = {name: TableEncoder(rows[known[name]]) for name, rows in cohort.tables.items()}
        counts = cohort.genotypes.to_numpy()[known["genomic"]]
        stays = prune(counts, cohort.chromosomes)
        self.variants = list(map(str, cohort.genotypes.columns[stays]))
        self.genomic = VectorScaler(counts[:, stays])
        images = cohort.images[known["imaging"]]
        self.imaging: MapScaler | VectorScaler = MapScaler(images) if images.ndim > 2 else VectorScaler(images)

    @property
    def columns(self) -> dict[str, list[str]]:
        """Names of the columns of each modality with columns."""
        return {**{name: encoder.names for name, encoder in self.tables.items()}, "genomic": self.variants}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one subject's modalities."""
        vectors = {name: (len(names),) for name, names in self.columns.items()}
        return {**vectors, "imaging": self.imaging.shape}

    def __call__(self, cohort: RawCohort) -> dict[str, np.ndarray]:
        """Return each modality, ``(subjects, L)`` or ``(subjects, 1, *S)``, in the order of the cohort's members.

        Raises:
            UserError: when a modality does not match the fitted one: none of its columns, or another shape.
        """
        encoded = {}
        for name, encoder in self.tables.items():
            refuse_strangers(name, cohort.tables[name], encoder.columns)
            encoded[name] = encoder(cohort.tables[name]) if len(cohort.tables[name]) else self.nobody(name)
        refuse_strangers("genomic", cohort.genotypes, self.variants)
        counts = cohort.genotypes.reindex(columns=self.variants).to_numpy(np.float32)
        encoded["genomic"] = self.genomic(counts) if len(counts) else self.nobody("genomic")
        if len(cohort.images) and cohort.images.shape[1:] != self.imaging.shape:
            raise UserError(
                f"imaging: {cohort.images.shape[1:]} values for each subject found; expected {self.imaging.shape}"
            )
        encoded["imaging"] = self.imaging(cohort.images) if len(cohort.images) else self.nobody("imaging")
        return encoded

    def nobody(self, name: str) -> np.ndarray:
        """Return an empty modality, one that no subject has."""
        return np.zeros((0, *self.shapes[name]), np.float32)

    def write(self, path: Path) -> None:
        """Write the encoder to a file."""
        write_safely(path, lambda temporary: joblib.dump(self, temporary, compress=3))


def refuse_strangers(name: str, rows: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise UserError when a table with rows has none of the columns."""
    if len(rows) and not set(columns) & set(map(str, rows.columns)):
        raise UserError(
            f"{name}: none of the {len(columns)} columns that were fitted found; expected {columns[0]}, ..."
        )


def read_encoder(path: Path) -> CohortEncoder:
    """Read the encoder that ``adni-prepare`` wrote. It is a pickle: read only files from people whom you trust.

    Raises:
        UserError: when it is missing, damaged, or of another version.
    """
    try:
        encoder = joblib.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected {FITTED} of `metakd adni-prepare`") from None
    except (OSError, ValueError, EOFError, ImportError, AttributeError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: unreadable ({error}); expected {FITTED} of `metakd adni-prepare`") from None
    if not isinstance(encoder, CohortEncoder) or encoder.version != __version__:
        found = f"of version {encoder.version}" if isinstance(encoder, CohortEncoder) else type(encoder).__name__
        raise UserError(f"{path}: {found} found; expected {FITTED} of version {__version__}")
    return encoder
