"""From tables to numbers in -1..1. Each encoder is fitted when it is created, on the training part only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder

FEW = 2  # numeric columns with at most so many values are categories
MANY = 50  # most categories of one column; the rarest others share one


class TableEncoder:
    """Scale numbers to -1..1 (gaps get the mean) and encode each category as -1 or 1.

    Numbers beyond the range of the rows it was fitted on are clipped, unknown categories are -1 everywhere.

    Args:
        rows: data to fit on, numbers and texts by subject; empty columns are left out.

    Attributes:
        names: of the L columns of its result.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self.columns = [name for name in rows if rows[name].notna().any()]
        self.numeric = [name for name in self.columns if pd.api.types.is_float_dtype(rows[name])]
        numbers = [name for name in self.numeric if rows[name].nunique() > FEW]
        self.categorical = [name for name in self.columns if name not in numbers]
        self.transformer: Any = ColumnTransformer(
            [
                ("number", make_pipeline(SimpleImputer(strategy="mean"), MinMaxScaler((-1, 1), clip=True)), numbers),
                (
                    "category",
                    make_pipeline(
                        SimpleImputer(strategy="constant", fill_value="missing"),
                        OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=MANY),
                        FunctionTransformer(zero_one_to_signs, feature_names_out="one-to-one"),
                    ),
                    self.categorical,
                ),
            ],
            verbose_feature_names_out=False,
        )
        self.transformer.fit(self.to_words(rows))
        self.names = list(map(str, self.transformer.get_feature_names_out()))

    def to_words(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the fitted columns, categories as texts; missing values are NaN."""
        rows = rows.reindex(columns=self.columns)
        numbers = {name: pd.to_numeric(rows[name], errors="coerce").astype(float) for name in self.numeric}
        rows = rows.assign(**numbers)
        words = rows.assign(**{name: rows[name].map(str, na_action="ignore") for name in self.categorical})
        words = words.astype(object)
        return words.where(words.notna(), np.nan)

    def __call__(self, rows: pd.DataFrame) -> np.ndarray:
        """Return ``(subjects, L)`` float32."""
        return np.asarray(self.transformer.transform(self.to_words(rows)), np.float32)


def zero_one_to_signs(values: np.ndarray) -> np.ndarray:
    """Turn 0 and 1 into -1 and 1."""
    return 2 * values - 1


class VectorScaler:
    """Fill numbers with means and scale each column to -1..1; beyond that range they are clipped.

    Args:
        values: data to fit on, ``(subjects, L)``, NaN for gaps.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.shape = values.shape[1:]
        filler = SimpleImputer(strategy="mean", keep_empty_features=True)
        self.pipeline: Any = make_pipeline(filler, MinMaxScaler((-1, 1), clip=True)).fit(values)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return ``(subjects, L)`` float32."""
        return np.asarray(self.pipeline.transform(values), np.float32)


class MapScaler:
    """Normalise maps to mean 0 and standard deviation 1, over all voxels of the maps that it was fitted on.

    Args:
        values: data to fit on, ``(subjects, 1, *S)``.
    """

    def __init__(self, values: np.ndarray) -> None:
        self.shape = values.shape[1:]
        self.mean, self.spread = values.mean(), max(float(values.std()), 1e-6)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return maps of the same shape, float32."""
        return np.asarray((values - self.mean) / self.spread, np.float32)
