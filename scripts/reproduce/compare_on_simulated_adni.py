"""MetaKD on simulated ADNI cohorts whose modalities carry known information, beside what else one could do.

For each seed a new cohort of the paper's size (2,939 subjects) is made, split, and classified by MetaKD, by the same
network with alpha = 0 and with zeros in place of Eq. (2), by plain late fusion, by the methods of the paper's Table 2
(LiMoE, Flex-MoE, MoE-Retriever), and by imputation with gradient boosting. Scores are those of Table 2. Finished
methods of a seed are kept in OUTPUT: an interrupted run goes on.

With --cohort, a folder that `metakd adni-prepare` wrote, it is done with your own tables; seeds are those of training.

Usage: compare_on_simulated_adni.py OUTPUT [--seeds 5] [--subjects 2939] [--cohort DIR]
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

from metakd_monai.apps.adni import CLASSES, MODALITIES, prepare_adni, read_cohort, read_manifest, simulate_adni
from metakd_monai.apps.adni.variants import VARIANTS, train_and_score_variant
from metakd_monai.apps.classification import SCORES, score
from metakd_monai.apps.paper.table2 import importance_report, table2_report
from metakd_monai.data.files import read_json, write_json, write_text
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import subsets_of

BOOSTING = "boosting"


def flat(items: Sequence[Mapping[str, Any]], present: Sequence[str] = MODALITIES) -> np.ndarray:
    """Join the vectors of the items, NaN where a modality is absent or not among the present ones."""
    columns = []
    for name in MODALITIES:
        values = torch.stack([item[name] for item in items]).numpy()
        columns.append(values if name in present else np.full_like(values, np.nan))
    return np.concatenate(columns, axis=1)


def boost_and_score(cohort: Path, seed: int) -> list[dict[str, Any]]:
    """Fill gaps with means, tell which were filled, and boost trees: the rows of Table 2."""
    parts = read_cohort(cohort)
    model = make_pipeline(
        SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True),
        HistGradientBoostingClassifier(random_state=seed),
    )
    model.fit(flat(parts["training"]), [int(item["label"]) for item in parts["training"]])
    rows: list[dict[str, Any]] = []
    for subset in subsets_of(MODALITIES):
        wanted = torch.tensor([name in subset for name in MODALITIES])
        fitting = [item for item in parts["test"] if bool(item["available"][wanted].all())]
        found = model.predict(flat(fitting, subset))
        scores = score([int(item["label"]) for item in fitting], found.tolist(), len(CLASSES))
        rows.append({"modalities": "+".join(subset), "samples": len(fitting), **scores})
    return [*rows, {"modalities": "mean", **{name: float(np.mean([row[name] for row in rows])) for name in SCORES}}]


def run_seed(output: Path, seed: int, subjects: int, prepared: Path | None) -> dict[str, Any]:
    """Return one seed's results; each method's are computed once."""
    path = output / f"seed_{seed}.json"
    results: dict[str, Any] = read_json(path, "results") if path.exists() else {}
    cohort = prepared or output / f"cohort_{seed}"
    if not prepared and not cohort.exists():
        simulate_adni(output / f"raw_{seed}", subjects, seed)
        prepare_adni(output / f"raw_{seed}", cohort, seed)
    for name in (*VARIANTS, BOOSTING):
        if name in results:
            continue
        if name == BOOSTING:
            results[name] = boost_and_score(cohort, seed)
        else:
            results[name], importance = train_and_score_variant(cohort, seed, name)
            if name == "MetaKD":
                results["importance"] = importance
        write_json(path, results)
    return results


def main() -> None:
    """Run what is missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subjects", type=int, default=2939, help="of a simulated cohort")
    parser.add_argument("--cohort", type=Path, help="a prepared one instead of simulated ones; another OUTPUT for each")
    arguments = parser.parse_args()
    try:
        if arguments.cohort:
            read_manifest(arguments.cohort)
    except UserError as error:
        parser.error(str(error))
    arguments.output.mkdir(parents=True, exist_ok=True)
    seeds = tqdm(range(arguments.seeds), desc="seeds", disable=None)
    results = [run_seed(arguments.output, seed, arguments.subjects, arguments.cohort) for seed in seeds]
    told = f"Cohort {arguments.cohort}" if arguments.cohort else f"Simulated cohorts of {arguments.subjects} subjects"
    text = table2_report(results, [*VARIANTS, BOOSTING], told)
    if not arguments.cohort:
        text += importance_report(results)
    write_text(arguments.output / "report.md", text)
    print(text)


if __name__ == "__main__":
    main()
