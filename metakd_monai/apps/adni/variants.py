"""What MetaKD is compared with on ADNI, as settings of ``train.json``, and one training of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from metakd_monai.apps.adni.prepare import MODALITIES
from metakd_monai.apps.adni.tables import CLASSES
from metakd_monai.apps.classification import score_subsets
from metakd_monai.apps.classification.compared import with_auxiliary
from metakd_monai.bundle.options import set_up_randomness
from metakd_monai.bundle.root import shipped_bundle
from metakd_monai.data.files import read_json

BUNDLE = "adni_metakd_classification"
TARGET = "network_def#_target_"
PLACE = "metakd_monai.apps.adni"
TENTH = "$@max_epochs * @train#epoch_length // 10"
METHODS: dict[str, dict[str, Any]] = {  # of the paper's Table 2; none uses Algorithm 1
    "LiMoE": {
        **with_auxiliary({"balance": 0.01, "local": 0.01, "global": 0.01}),
        TARGET: f"{PLACE}.expert_classifiers.LiMoEClassifier",
    },
    "Flex-MoE": {
        **with_auxiliary({"balance": 0.01, "subset": 0.01}),
        TARGET: f"{PLACE}.expert_classifiers.FlexMoEClassifier",
        "train#handlers#0#warm_up": TENTH,
    },
    "MoE-Retriever": {
        **with_auxiliary({"balance": 0.01}),
        TARGET: f"{PLACE}.retriever.RetrieverClassifier",
        "network_def#support": "$@split['training']",
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "MetaKD": {},
    "alpha 0": {"alpha": 0.0},
    "zero fill": {"alpha": 0.0, "network_def#fill": "zero"},
    "late fusion": {"alpha": 0.0, TARGET: "metakd_monai.networks.LateFusionClassifier"},
    **METHODS,
}


def train_variant(cohort: str | Path, seed: int, name: str, changes: Mapping[str, Any] | None = None) -> ConfigParser:
    """Train a variant with neither logs nor checkpoints; return the configuration with its trained parts.

    Args:
        cohort: folder that ``metakd adni-prepare`` wrote.
        seed: of the training.
        name: of the variant.
        changes: more settings of ``train.json``.
    """
    config = read_json(shipped_bundle(BUNDLE) / "configs" / "train.json", "a configuration")
    kept = ("LrScheduleHandler", "DropModalitiesHandler", *(() if name in METHODS else ("MetaUpdateHandler",)))
    config["train"]["handlers"] = [h for h in config["train"]["handlers"] if h["_target_"].endswith(kept)]
    config |= {"seed": seed, "device": "cpu", "dataset_dir": str(cohort)}
    settings = {**VARIANTS[name], **(changes or {})}
    if TARGET in settings:
        del config["network_def"]["fill"]
    parser = ConfigParser(config)
    parser.update(settings)
    set_up_randomness(seed)
    parser.get_parsed_content("train#trainer").run()
    return parser


def train_and_score_variant(cohort: str | Path, seed: int, name: str) -> tuple[list[dict[str, Any]], list[float]]:
    """Train a variant; return the rows of Table 2 on the test part, and the importance."""
    parser = train_variant(cohort, seed, name)
    network, test = parser.get_parsed_content("network"), parser.get_parsed_content("split")["test"]
    return score_subsets(network, test, MODALITIES, len(CLASSES)), parser.get_parsed_content("iwv")().tolist()
