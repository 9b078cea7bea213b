"""Ways to use the scarce modality of AV-MNIST, as settings of ``train.json``, and the data for choosing among them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from metakd_monai.apps.avmnist.pairs import Pairs
from metakd_monai.apps.classification.compared import with_auxiliary

PLACE = "metakd_monai.apps.avmnist.distillations"
OF_PAIRS = ("image", "sound", "label", "speaker")
HELD_OUT = {"3a": 0, "3b": 10}  # of each class and speaker; images have 10,000 others to choose on


def hold_out(pairs: Pairs, seed: int, number: int) -> Pairs:
    """Return pairs without the test set, some of the others (of each class and speaker) in its place."""
    rng = np.random.default_rng([seed, 7])
    known = np.flatnonzero(~pairs.test)
    group = pairs.label[known] * 10 + pairs.speaker[known]
    held = np.zeros(len(known), bool)
    for one in np.unique(group):
        held[rng.permutation(np.flatnonzero(group == one))[:number]] = True
    taken = {name: getattr(pairs, name)[known] for name in OF_PAIRS}
    nothing = {"test_image": pairs.test_image[:0], "test_label": pairs.test_label[:0]}
    return Pairs(**{**asdict(pairs), **taken, **nothing, "test": held})


def cosine(power: float, alpha: float = 1.0) -> dict[str, Any]:
    """Return the settings of a cosine distillation."""
    return {"alpha": alpha, "distillation": {"_target_": f"{PLACE}.CosineDistillation", "power": power}}


def prediction(alpha: float = 1.0, temperature: float = 1.0) -> dict[str, Any]:
    """Return the settings of a distillation of predictions."""
    target = {"_target_": f"{PLACE}.PredictionDistillation", "network": "@network", "temperature": temperature}
    return {"alpha": alpha, "distillation": target}


def both(share: float) -> dict[str, Any]:
    """Return the settings of both distillations, the scarce modality being the teacher of features."""
    teacher = "$@modalities.index(@scarce)"
    target = {"_target_": f"{PLACE}.Both", "network": "@network", "teacher": teacher, "share": share}
    return {"alpha": 1.0, "distillation": target}


def scheduled(rising: bool) -> dict[str, Any]:
    """Return the settings of an alpha that goes from 0 to 1 or from 1 to 0."""
    iterations = "$@max_epochs * @train#epoch_length"
    target = {"_target_": f"{PLACE}.ScheduledDistillation", "iterations": iterations, "rising": rising}
    return {"alpha": 1.0, "distillation": target}


def compared(target: str, weights: dict[str, float], **arguments: Any) -> dict[str, Any]:
    """Return the settings of another method: its classifier, arguments of it, and weights of its auxiliary losses."""
    network = {"_target_": f"metakd_monai.apps.avmnist.{target}", **arguments}
    return {**with_auxiliary(weights), **{f"network_def#{name}": value for name, value in network.items()}}


COSINE_LAW = {
    "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
    "optimizer": "@optimizer",
    "T_max": "$@max_epochs * @train#epoch_length",
}
SCHEDULE = {"learning_rate": 0.002, "weight_decay": 0.0001, "lr_scheduler": COSINE_LAW}
ROWS = {"normalize_rows": True}
RECIPES: dict[str, dict[str, Any]] = {
    "printed": {},
    "augmented": {"augment": True},
    "schedule": SCHEDULE,
    "rows": {**SCHEDULE, **ROWS},
    "tuned": {**SCHEDULE, **ROWS, "augment": True},
}
DONORS = {"donors": True}
DROPPED = {"donors": True, "dropping_prob": 1.0, "dropping_law": "subset"}
CURRICULUM = {  # at first both, then ever more often a random subset
    **DROPPED,
    "warm_up": "$@max_epochs * @train#epoch_length // 4",
    "ramp": "$@max_epochs * @train#epoch_length // 4",
}
HIDDEN = {"distillation": {"_target_": f"{PLACE}.HiddenDistillation", "network": "@network"}}
SCARCE = {"scarce": "$@modalities.index(@scarce)"}
METHODS: dict[str, dict[str, Any]] = {  # of the paper's Table 3, as it calls them; none uses Algorithm 1
    "AutoEncoder": compared("imputers.AutoEncoderClassifier", {"imputation": 1.0}, **SCARCE),
    "GAN": compared("imputers.GANClassifier", {"imputation": 1.0, "judge": 1.0, "deception": 0.1}, **SCARCE),
    "Full2miss": compared("fusion_methods.Full2MissClassifier", {"missing": 1.0, "adaptation": 1.0}, **SCARCE),
    "SMIL": {
        **compared("smil.SMILClassifier", {"joined": 0.01, "inner": 0.01}, **SCARCE),
        "train#trainer#_target_": "metakd_monai.apps.avmnist.smil.SMILTrainer",
        "train#trainer#warm_up": "$@max_epochs * @train#epoch_length // 2",
    },
    "ShaSpec": compared("fusion_methods.ShaSpecClassifier", {"alignment": 0.1, "modality": 0.02}),
}
WAYS: dict[str, dict[str, Any]] = {
    "control": {"alpha": 0.0, "rate": 0.0},
    "printed": {},
    "alpha 1": {"alpha": 1.0},
    "alpha rising to 1": scheduled(rising=True),
    "alpha falling from 1": scheduled(rising=False),
    "hidden features": HIDDEN,
    "cosine, alpha 0.1": cosine(0, 0.1),
    "other direction": cosine(-1, 0.1),
    "prediction": prediction(),
    "donors, prediction": {**DONORS, **prediction()},
    "donors, prediction, scarce teaches": {**DONORS, **both(0.3)},
    "donors, dropped": {**DROPPED, "alpha": 0.0},
    "donors, dropped, printed": DROPPED,
    "donors, dropped, cosine": {**DROPPED, **cosine(0)},
    "donors, dropped, other direction": {**DROPPED, **cosine(-1)},
    "donors, dropped, prediction": {**DROPPED, **prediction()},
    "donors, curriculum": {**CURRICULUM, "alpha": 0.0},
    "donors, curriculum, printed": CURRICULUM,
    **METHODS,
}
WITHOUT_META = ("control", *METHODS)


def settings_of(recipe: str, way: str, rate: float) -> dict[str, Any]:
    """Return the settings of ``train.json`` that differ."""
    return {"rate": rate, **RECIPES[recipe], **WAYS[way]}
