"""Switches of experimental.json: each reaches a component and the settings, and all are off by themselves."""

import pytest
import torch
from test_bundle_configs import has, load, read

from metakd_monai.errors import find_user_error

SWITCHES = {  # of experimental.json: where each goes, and a value that it has not by itself
    "modalities": ("train#modalities", "flair"),
    "dropping_law": ("train#dropping#law", "subset"),
    "dropping_prob": ("train#dropping#prob", 0.5),
    "subsets_per_sample": ("train#dropping#subsets_per_sample", 3),
    "single_modality_passes": ("train#dropping#single_modality_passes", 2),
    "warm_up": ("train#dropping#warm_up", 8),
    "ramp": ("train#dropping#ramp", 4),
    "alpha_warm_up": ("train#trainer#alpha_warm_up", 5),
    "lr_schedule": ("lr_scheduler#law", "polynomial"),
    "meta_batch_size": ("meta#dataloader#batch_size", 2),
    "accumulation_steps": ("train#trainer#accumulation_steps", 2),
    "amp_dtype": ("train#trainer#amp_dtype", "fp16"),
    "channels_last": ("train#channels_last", "false"),
    "compile": ("train#trainer#compile", "true"),
    "deterministic": ("randomness#deterministic", "true"),
    "augment_on_device": ("train#augment_on_device", "true"),
    "cache_dir": ("train#dataset#cache_dir", "cache"),
}
NO_SETTINGS = {"cache_dir"}  # changes no result


def settle(parser):
    """Return what a run writes down of its settings, with a small network."""
    parser.update({"device": "cpu", "network_def#channels": [4, 8, 16]})
    return parser.get_parsed_content("settings")


def test_experimental_switches_are_these():
    overlay = load("experimental.json")
    assert [key for key in overlay if "#" not in key] == list(SWITCHES)
    assert [key for key in overlay if "#" in key] == [place for place, _ in SWITCHES.values()]


def test_experimental_changes_nothing_by_itself():
    plain, switched = read(), read("experimental.json")
    assert settle(plain) == settle(switched)
    for place, _ in SWITCHES.values():
        assert plain.get_parsed_content(place) == switched.get_parsed_content(place)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_reaches_a_component_and_the_settings(name):
    place, value = SWITCHES[name]
    before, parser = read("experimental.json"), read("experimental.json")
    parser[name] = value
    assert has(before.config, place)
    wanted = {"true": True, "false": False}.get(value, value)
    assert parser.get_parsed_content(place) == wanted != before.get_parsed_content(place)
    changed = {key: found for key, found in settle(parser).items() if found != settle(before)[key]}
    assert changed == ({} if name in NO_SETTINGS else {name: wanted})


def test_switches_reach_the_objects():
    parser = read("experimental.json")
    parser.update({"lr_schedule": "polynomial", "warm_up": 8, "max_iterations": 3})
    parser.update({"device": "cpu", "network_def#channels": [4, 8, 16], "cache_dir": "cache"})
    assert isinstance(parser.get_parsed_content("lr_scheduler"), torch.optim.lr_scheduler.PolynomialLR)
    assert parser.get_parsed_content("train#dropping").warm_up == 8
    caches = [parser.get_parsed_content(f"{part}#dataset#cache_dir") for part in ("train", "meta", "validate")]
    assert caches == ["cache"] * 3
    parser = read("experimental.json")
    parser.update({"lr_schedule": "linear", "device": "cpu", "network_def#channels": [4, 8, 16]})
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("lr_scheduler")
    assert "lr_schedule: 'linear' found; expected cosine or polynomial" in str(find_user_error(caught.value))


@pytest.mark.parametrize("value", ["true", "False", True, False])
def test_damaged_cases_are_skipped_by_name(value):
    parser = read()
    parser["split#skip_damaged"] = value
    assert parser.get_parsed_content("split").arguments["skip_damaged"] is (str(value).lower() == "true")
    parser = read()
    parser["split#skip_damaged"] = "perhaps"
    with pytest.raises(RuntimeError) as caught:
        parser.get_parsed_content("split")
    assert "skip_damaged: 'perhaps' found" in str(find_user_error(caught.value))


def test_spacing_is_that_of_simulated_voxels_in_the_metric_too():
    parser = read("experimental.json", "train_simulated.json")
    parser.update({"spacing": [3.0, 3.0, 3.0], "channels_last": "true", "dropping_prob": 0.5})
    assert parser.get_parsed_content("validate#additional_metrics#val_hausdorff95#metric_fn#spacing") == [3.0] * 3
    assert parser.get_parsed_content("simulator#spacing") == 3.0
    settings = settle(parser)
    wanted = {"channels_last": True, "dropping_prob": 0.5, "momentum": None, "weight_decay": 0.01}
    assert {name: settings[name] for name in wanted} == wanted
