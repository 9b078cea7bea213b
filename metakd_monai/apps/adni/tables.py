"""ADNI's tables as they are downloaded: found by prefix, keyed by PTID, one row for each subject."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from metakd_monai.errors import UserError

logger = logging.getLogger(__name__)

CLASSES = ("CTL", "MCI", "AD")
DIAGNOSES = {
    **dict.fromkeys(("1", "CN", "CTL", "NL", "SMC"), 0),
    **dict.fromkeys(("2", "MCI", "EMCI", "LMCI"), 1),
    **dict.fromkeys(("3", "AD", "DEMENTIA"), 2),
}
DIAGNOSIS = "DXSUM"
TABLES = {
    "clinical": ("MEDHIST", "NEUROEXM", "PTDEMOG", "RECCMEDS", "VITALS"),
    "biospecimen": ("APOERES", "UPENNBIOMK_ROCHE_ELECSYS"),
}
LEAKAGE = ("PTCOGBEG", "PTADDX", "PTADBEG")  # tell when the disease began: the paper leaves them out
BOOKKEEPING = frozenset(
    {
        *("PHASE", "COLPROT", "ORIGPROT", "PTID", "RID", "ID", "SITEID", "VISCODE", "VISCODE2", "VISDATE", "EXAMDATE"),
        *("USERDATE", "USERDATE2", "UPDATE_STAMP", "DD_CRF_VERSION_LABEL", "LANGUAGE_CODE", "HAS_QC_ERROR", "RUNDATE"),
    }
)
MISSING_CODES = (-1, -4)  # ADNI's "confirmed missing" and "passively missing"


class NothingFoundError(UserError):
    """There is no file of a modality, so no subject has it."""


def find_table(raw: Path, prefix: str) -> Path | None:
    """Find the table of a prefix, whatever its date suffix; raises UserError when there are several."""
    found = sorted(path for path in raw.rglob("*.csv") if path.name.upper().startswith(prefix))
    if len(found) > 1:
        raise UserError(
            f"{raw}: {len(found)} tables {prefix}*.csv found ({found[0].name}, ...); expected one of a kind"
        )
    return found[0] if found else None


def read_table(path: Path) -> pd.DataFrame:
    """Read a table with upper-case column names; raises UserError when it is unreadable or has no PTID."""
    try:
        table = pd.read_csv(path, low_memory=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: unreadable, expected a CSV table ({str(error).strip()})") from None
    table.columns = [str(name).upper() for name in table.columns]
    if "PTID" not in table:
        names = ", ".join(list(table.columns)[:5])
        raise UserError(
            f"{path}: no column PTID found (there are {names}, ...); expected one row for each subject's PTID"
        )
    table = table[table["PTID"].notna()]
    return table.assign(PTID=table["PTID"].astype(str).str.strip())


def latest_rows(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Keep each subject's newest row by UPDATE_STAMP, gaps filled from older ones; the index becomes PTID.

    Raises:
        UserError: when a subject has several rows and nothing tells which is newest.
    """
    twice = table["PTID"][table["PTID"].duplicated()]
    if len(twice) and "UPDATE_STAMP" not in table:
        raise UserError(
            f"{path}: PTID {twice.iloc[0]} found twice; expected one row, or UPDATE_STAMP to tell the newest"
        )
    if len(twice):
        table = table.sort_values("UPDATE_STAMP", kind="stable")
        table = table.assign(**table.groupby("PTID").ffill()).drop_duplicates("PTID", keep="last")
    return table.set_index("PTID").sort_index()


def read_diagnoses(raw: Path) -> pd.Series:
    """Read the class of each subject that has exactly one diagnosis, as an index into CLASSES by PTID.

    Subjects whose diagnosis changed, or is not given at a visit, are left out, as in Flex-MoE's preparation.

    Raises:
        UserError: without a table, a column DIAGNOSIS, or with a code that is unknown.
    """
    path = find_table(raw, DIAGNOSIS)
    if path is None:
        raise UserError(f"{raw}: no {DIAGNOSIS}*.csv found; expected ADNI's table of diagnoses")
    table = read_table(path)
    if "DIAGNOSIS" not in table:
        raise UserError(f"{path}: no column DIAGNOSIS found; expected codes 1, 2, 3 or CN, MCI, AD")
    words = table["DIAGNOSIS"].map(lambda value: value if pd.isna(value) else str(value).removesuffix(".0").upper())
    unknown = words[words.notna() & ~words.isin(list(DIAGNOSES))]
    if len(unknown):
        raise UserError(f"{path}: diagnosis {unknown.iloc[0]!r} found; expected 1, 2, 3 or {', '.join(DIAGNOSES)}")
    codes = words.map(DIAGNOSES)
    groups = codes.groupby(table["PTID"])
    clear = (groups.nunique(dropna=False) == 1) & (groups.count() > 0)
    if len(clear) > clear.sum():
        logger.info("%d subjects left out: their diagnosis changed or is missing at a visit", len(clear) - clear.sum())
    return groups.first()[clear].astype(int).sort_index()


def read_group(raw: Path, modality: str, subjects: Sequence[str] | None) -> pd.DataFrame:
    """Merge a modality's tables into one row for each subject that is in any of them.

    Args:
        raw: folder of the tables.
        modality: a key of TABLES.
        subjects: PTIDs to keep, those with a diagnosis; None for all.

    Returns:
        Columns ``TABLE.COLUMN`` by PTID; without bookkeeping columns and those that tell when the disease began.

    Raises:
        NothingFoundError: when none of the tables exists.
        UserError: when one has no subject in common with the diagnoses.
    """
    parts = []
    for prefix in TABLES[modality]:
        if (path := find_table(raw, prefix)) is None:
            logger.info("%s: no %s*.csv found; left out", modality, prefix)
            continue
        rows = latest_rows(read_table(path), path)
        rows = keep_subjects(rows, subjects, path)
        kept = [name for name in rows if name not in BOOKKEEPING and not str(name).startswith(LEAKAGE)]
        parts.append(rows[kept].add_prefix(f"{prefix}."))
    if not parts:
        raise NothingFoundError(f"{raw}: no table of {modality} found; expected some of {', '.join(TABLES[modality])}")
    return clean(pd.concat(parts, axis=1))


def keep_subjects(rows: pd.DataFrame, subjects: Sequence[str] | None, path: Path) -> pd.DataFrame:
    """Keep rows of known subjects; raises UserError when there are none, as for a table of another cohort."""
    if subjects is None:
        return rows
    known = rows.loc[rows.index.isin(list(subjects))]
    if known.empty:
        first = rows.index[0] if len(rows) else "none at all"
        raise UserError(f"{path}: no subject in common with the diagnoses (first PTID: {first}); expected one cohort")
    return known


def clean(rows: pd.DataFrame) -> pd.DataFrame:
    """Convert columns of dates or texts such as ``>1700`` to numbers, and codes of missing values to NaN."""
    columns = {}
    for name, column in rows.items():
        if pd.api.types.is_numeric_dtype(column):
            values = column.astype(float)
        elif "DATE" in str(name):
            days = pd.to_datetime(column, errors="coerce")
            values = (days - pd.Timestamp("2000-01-01")).dt.days.astype(float)
        else:
            text = column.astype("string").str.strip()
            numbers = pd.to_numeric(text.str.lstrip("<>"), errors="coerce")
            columns[name] = text.astype(object) if (numbers.isna() & text.notna()).any() else numbers.astype(float)
            values = columns[name]
        is_number = pd.api.types.is_float_dtype(values)
        columns[name] = values.mask(values.isin(MISSING_CODES), np.nan) if is_number else values
    return pd.DataFrame(columns, index=rows.index)
