"""From tables to numbers in -1..1. Everything is fitted on the training part alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder

FEW = 2  # numbers with no more values than this are categories
MANY = 50  # categories of one column; the rarest of more share one column


def encode_table(rows: pd.DataFrame, training: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Scale numbers to -1..1 (gaps get the mean) and write categories as -1 or 1 each.

    Args:
        rows: numbers and texts by subject.
        training: which rows to fit on, bool; columns that are empty there are left out. Numbers beyond the training
            part's range are clipped, unknown categories are -1 everywhere.

    Returns:
        ``(subjects, L)`` float32, and the names of the columns.
    """
    fit = rows[training]
    rows = rows[[name for name in rows if fit[name].notna().any()]]
    fit = rows[training]
    numeric = [name for name in rows if pd.api.types.is_float_dtype(rows[name]) and fit[name].nunique() > FEW]
    categorical = [name for name in rows if name not in numeric]
    words = rows.assign(**{name: rows[name].map(str, na_action="ignore") for name in categorical}).astype(object)
    words = words.where(words.notna(), np.nan)
    encoder: Any = ColumnTransformer(
        [
            ("number", make_pipeline(SimpleImputer(strategy="mean"), MinMaxScaler((-1, 1), clip=True)), numeric),
            (
                "category",
                make_pipeline(
                    SimpleImputer(strategy="constant", fill_value="missing"),
                    OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=MANY),
                    FunctionTransformer(zero_one_to_signs, feature_names_out="one-to-one"),
                ),
                categorical,
            ),
        ],
        verbose_feature_names_out=False,
    )
    encoder.fit(words[training])
    return np.asarray(encoder.transform(words), np.float32), list(map(str, encoder.get_feature_names_out()))


def zero_one_to_signs(values: np.ndarray) -> np.ndarray:
    """Turn 0 and 1 into -1 and 1."""
    return 2 * values - 1


def encode_counts(counts: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Fill genotypes with the training part's means and scale them to -1..1, ``(subjects, V)`` float32."""
    imputer, scaler = SimpleImputer(strategy="mean"), MinMaxScaler((-1, 1), clip=True)
    scaler.fit(imputer.fit_transform(counts[training]))
    return np.asarray(scaler.transform(imputer.transform(counts)), np.float32)


def encode_images(values: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Bring vectors to -1..1 by column, maps to mean 0 and deviation 1 over all voxels of the training part."""
    if values.ndim > 2:
        fit = values[training]
        return np.asarray((values - fit.mean()) / max(float(fit.std()), 1e-6), np.float32)
    return encode_counts(values, training)
