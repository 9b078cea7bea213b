"""MetaKD on simulated ADNI cohorts whose modalities carry known information, beside what else one could do.

For each seed a new cohort of the paper's size (2,939 subjects) is made, split, and classified by MetaKD, by the same
network with alpha = 0 and with zeros in place of Eq. (2), by plain late fusion, and by imputation with gradient
boosting. Scores are those of the paper's Table 2. Finished seeds are kept in OUTPUT: an interrupted run goes on.

Usage: compare_on_simulated_adni.py OUTPUT [--seeds 5] [--subjects 2939]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from tqdm import tqdm

from metakd_monai.apps.adni import CLASSES, MODALITIES, SEPARATION, prepare_adni, read_cohort, simulate_adni
from metakd_monai.apps.classification import SCORES, score, score_subsets
from metakd_monai.bundle.options import set_up_randomness
from metakd_monai.data.files import write_json, write_safely
from metakd_monai.vocabulary import subsets_of

TRAIN = Path(__file__).resolve().parents[2] / "bundles" / "adni_metakd_classification" / "configs" / "train.json"
LATE = "metakd_monai.networks.LateFusionClassifier"
VARIANTS: dict[str, dict[str, Any]] = {
    "MetaKD": {},
    "alpha 0": {"alpha": 0.0},
    "zero fill": {"alpha": 0.0, "network_def#fill": "zero"},
    "late fusion": {"alpha": 0.0, "network_def#_target_": LATE},
}
BOOSTING = "boosting"
LETTERS = dict(zip(MODALITIES, "CGBI", strict=True))


def train_and_score(cohort: Path, seed: int, settings: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[float]]:
    """Train the bundle with neither logs nor checkpoints; return the rows of Table 2 and the importance."""
    config = json.loads(TRAIN.read_text())
    kept = ("LrScheduleHandler", "MetaUpdateHandler", "DropModalitiesHandler")
    config["train"]["handlers"] = [h for h in config["train"]["handlers"] if h["_target_"].endswith(kept)]
    config |= {"seed": seed, "device": "cpu", "dataset_dir": str(cohort)}
    if settings.get("network_def#_target_") == LATE:
        del config["network_def"]["fill"]
    parser = ConfigParser(config)
    parser.update(dict(settings))
    set_up_randomness(seed)
    parser.get_parsed_content("train#trainer").run()
    network, test = parser.get_parsed_content("network"), parser.get_parsed_content("split")["test"]
    return score_subsets(network, test, MODALITIES, len(CLASSES)), parser.get_parsed_content("iwv")().tolist()


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


def run_seed(output: Path, seed: int, subjects: int) -> dict[str, Any]:
    """Return one seed's results, computed once."""
    path = output / f"seed_{seed}.json"
    if not path.exists():
        raw, cohort = output / f"raw_{seed}", output / f"cohort_{seed}"
        simulate_adni(raw, subjects, seed)
        prepare_adni(raw, cohort, seed)
        results: dict[str, Any] = {}
        for name, settings in VARIANTS.items():
            results[name], importance = train_and_score(cohort, seed, settings)
            if name == "MetaKD":
                results["importance"] = importance
        write_json(path, {**results, BOOSTING: boost_and_score(cohort, seed)})
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def report(results: Sequence[Mapping[str, Any]], subjects: int) -> str:
    """Write Table 2's form in Markdown: a row for each subset, then gains over the others and the importance."""
    names = [*VARIANTS, BOOSTING]

    def values(name: str, row: int, column: str) -> np.ndarray:
        return np.array([result[name][row][column] for result in results])

    lines = [
        f"Simulated cohorts of {subjects} subjects, {len(results)} seeds. In %, mean ± standard deviation over seeds.",
        "",
        "| modalities | samples | score | " + " | ".join(names) + " |",
        "|---|---|---|" + "---|" * len(names),
    ]
    subsets = ["+".join(LETTERS[name] for name in subset) for subset in subsets_of(MODALITIES)]
    for row, subset in enumerate([*subsets, "**mean of 15**"]):
        samples = f"{values('MetaKD', row, 'samples').mean():.0f}"
        for column in SCORES:
            cells = [f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" for v in (values(name, row, column) for name in names)]
            lines.append(f"| {subset} | {samples} | {column} | " + " | ".join(cells) + " |")
    lines += ["", "MetaKD minus the others, mean of 15, paired by seed, mean ± standard error:", ""]
    for name in names[1:]:
        gaps = {c: values("MetaKD", -1, c) - values(name, -1, c) for c in ("accuracy", "f1", "balanced_accuracy")}
        parts = [f"{c} {g.mean():+.2f} ± {g.std(ddof=1) / np.sqrt(len(g)):.2f}" for c, g in gaps.items()]
        lines.append(f"- {name}: {', '.join(parts)}")
    importance = np.array([result["importance"] for result in results])
    separation = np.array([SEPARATION[name] for name in MODALITIES])
    right = sum(bool((row.argsort() == separation.argsort()).all()) for row in importance)
    lines += ["", f"Importance; in {right} of {len(results)} seeds its order is that of the information:", ""]
    lines += ["| modality | separation of neighbouring classes (sd) | importance |", "|---|---|---|"]
    for n, name in enumerate(MODALITIES):
        mine = importance[:, n]
        lines.append(f"| {name} | {separation[n]} | {mine.mean():.3f} ± {mine.std(ddof=1):.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the seeds that are missing, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--subjects", type=int, default=2939)
    arguments = parser.parse_args()
    seeds = tqdm(range(arguments.seeds), desc="seeds", disable=None)
    results = [run_seed(arguments.output, seed, arguments.subjects) for seed in seeds]
    text = report(results, arguments.subjects)
    write_safely(arguments.output / "report.md", lambda path: path.write_text(text))
    print(text)


if __name__ == "__main__":
    main()
