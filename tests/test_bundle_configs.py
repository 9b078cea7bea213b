"""JSON is code: the files agree with each other and with the vocabulary, and no key is a typo."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from conftest import BUNDLE, REPOSITORY
from monai.bundle import ConfigParser, verify_metadata

from metakd_monai import __version__
from metakd_monai.apps.predict.predictor import Compute
from metakd_monai.bundle.root import bundle_root, config_files, is_bundle
from metakd_monai.bundle.split import choose_part, join_parts, list_cases, split_cases
from metakd_monai.data.datalists import count_meta
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet
from metakd_monai.transforms import regions_to_labels
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES


def load(name):
    return json.loads((BUNDLE / "configs" / name).read_text())


# What an overlay may add to its trunk; everything else must be there already.
ADDITIONS = {
    "evaluate.json": {"weights", "evaluating", "cases", "subsets", "postprocessing", "compare", "modalities"},
    "experimental.json": {key for key in load("experimental.json") if "#" not in key},
    "multi_gpu_train.json": {"finalize"},
    "paper.json": set(),
    "federated_train.json": {"exchanged"},
    "train_real.json": {"input_stride", "settings#input_stride", "coarsen"},
    "train_simulated.json": {"atlas", "real", "real_share", "simulation_device", "simulator"}
    | {"training_cases", "meta_cases", "validation_cases", "spacing", "channels_last"}
    | {f"settings#{name}" for name in ("atlas", "real", "real_share", "spacing")}
    | {f"settings#{name}" for name in ("training_cases", "meta_cases", "validation_cases")},
}
PAIR = {"train#dropping#pair", "train#trainer#subset_loss", "settings#subset_loss_weight"}
METHODS = {  # of configs/methods, and what each adds
    "alpha_0": set(),
    "equal_importance": set(),
    "lckd": {"distillation#counts"},
    "no_dropping": set(),
    "ranking": PAIR,
    "self_distillation": PAIR,
}
PLUG_INS = {"with_metakd": set()}  # given after the overlay of another network
BESIDE = {"train#trainer#auxiliary_loss", "settings#auxiliary_weights"}
OTHER_NETWORKS = {  # of configs/methods, and what each adds
    "dynunet": BESIDE,
    "dynunet_no_dropping": BESIDE,
    "lmcr": BESIDE,
    "mean_image": BESIDE,
    "mm_former": BESIDE | {"train#dropping#pair"},
    "rf_net": BESIDE | {"train#dropping#pair"},
    "robust_mseg": BESIDE | {"train#dropping#pair"},
    "s_fusion": set(),
    "s_fusion_u_hemis": set(),
    "sha_spec": BESIDE | {"train#dropping#pair"},
    "sim_mlm": BESIDE | PAIR,
    "u_hemis": set(),
    "u_hved": BESIDE | {"train#dropping#pair"},
}
ADDITIONS |= {f"methods/{name}.json": added for name, added in (METHODS | OTHER_NETWORKS | PLUG_INS).items()}
MOST_KNOBS = 25


def read(*names):
    """Return the parser of train.json and overlays on it."""
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / name) for name in ("train.json", *names)])
    return parser


def has(config, key):
    """Tell whether ``a#b#0#c`` is in a configuration."""
    *path, last = key.split("#")
    for part in path:
        if isinstance(config, list):
            config = config[int(part)]
        elif part in config:
            config = config[part]
        else:
            return False
    return int(last) < len(config) if isinstance(config, list) else last in config


@pytest.mark.parametrize("name", ADDITIONS)
def test_overlay_only_overrides_what_the_trunk_defines(name):
    trunk = load("train.json")
    unknown = {key for key in load(name) if not has(trunk, key.removeprefix("+"))}
    assert unknown <= ADDITIONS[name]


@pytest.mark.parametrize("order", [1, -1])
def test_several_processes_train_on_simulation(order):
    """MONAI reads overlays one after the other: each adds its imports, none replaces those of another."""
    parser = read(*["multi_gpu_train.json", "train_simulated.json"][::order])
    names = " ".join(parser["imports"])
    assert "has_bf16" in names
    assert "torch.distributed as dist" in names
    assert "for_json as metakd" in names
    assert parser["simulator"]["_target_"].endswith("RandSimulated")
    assert parser["train#trainer#network"]["_target_"].endswith("DistributedDataParallel")


def test_handlers_are_where_references_mean_them_to_be():
    handlers = load("train.json")["train"]["handlers"]
    meta_update, dropping, *_, checkpoint = handlers
    # All are dictionaries, and none is referred to by its place: MONAI Label puts a CheckpointLoader before them.
    assert all(isinstance(handler, dict) for handler in handlers)
    assert "handlers#" not in (BUNDLE / "configs" / "train.json").read_text()
    assert meta_update["_target_"] == "$@train#meta_update"
    assert load("train.json")["train"]["meta_update"]["_target_"].endswith("MetaUpdateHandler")
    assert dropping["_target_"] == "$@train#dropping"
    assert load("train.json")["train"]["dropping"]["_target_"].endswith("DropModalitiesHandler")
    assert checkpoint["_target_"].endswith("CheckpointHandler")
    assert checkpoint["objects"]["meta_update"] == "@train#meta_update"
    assert handlers[4]["_target_"] == next(h for h in handlers if h.get("name") == "timing")["read"].join(["$", ""])


def without(transforms, *targets):
    return [t for t in transforms if not any(t["_target_"].endswith(target) for target in targets)]


def test_trunks_agree():
    train, inference = load("train.json"), load("inference.json")
    from_file = {"_target_": "metakd_monai.weights.load.network_for", "weights": "@weights"}
    assert inference["network_def"] == load("evaluate.json")["network_def"] == from_file
    assert inference["network"] == "$@network_def.to(@device)"
    assert train["initial_network"] == {
        "_target_": "metakd_monai.weights.load.start_from",
        **{"network": "@network_def", "weights": "@init_weights", "window": "@roi_size"},
    }
    assert train["network"] == "$@initial_network.to(@device)"
    assert train["init_weights"] is load("evaluate.json")["initial_network#window"] is None
    knobs = {name: f"@{name}" for name in ("roi_size", "memory_limit", "precision", "mirror")}
    assert {**train["validate"]["inferer"], **knobs, "channels_last": True} == inference["inferer"]
    assert train["validate"]["inferer"]["roi_size"] is inference["roi_size"] is None
    command = Compute()
    assert {name: inference[name] for name in ("memory_limit", "precision", "mirror")} == {
        name: getattr(command, name) for name in ("memory_limit", "precision", "mirror")
    }
    assert inference["inferer"]["overlap"] == command.overlap
    after = [t["_target_"].split(".")[-1] for t in inference["postprocessing"]["transforms"]]
    assert after == [  # a logit above 0 and the rule of the weights, as the command line has it
        *("Invertd", "RegionsToLabelsd", "PostProcessLabelsd", "SaveImageMaskd")
    ]
    assert train["train"]["modalities"] is None
    image_only = [
        {**t, "keys": "image"} if "keys" in t else t
        for t in without(train["train"]["deterministic_transforms"], "LabelsToRegionsd", "LoadLabeld")
        if t["_target_"] not in ("EnsureChannelFirstd", "CropForegroundd")
    ]
    assert image_only[0].pop("modalities") == "@train#modalities"
    mine = without(inference["preprocessing"]["transforms"], "EnsureChannelFirstd")
    assert mine[0].pop("modalities") == "@modalities"
    assert [t["_target_"] for t in image_only] == [t["_target_"] for t in mine]
    assert image_only[:-1] == mine[:-1]  # the last one differs in track_meta


@pytest.mark.parametrize("path", sorted((BUNDLE / "configs").rglob("*.json")), ids=lambda path: path.stem)
def test_json_holds_no_programs(path):
    assert "lambda" not in path.read_text()


@pytest.mark.parametrize("name", ["train.json", "inference.json"])
def test_each_trunk_stands_alone(name):
    text = (BUNDLE / "configs" / name).read_text()
    assert ".json::" not in text
    parser = ConfigParser(load(name))
    references = set(re.findall(r"@([A-Za-z_][\w#]*)", text))
    assert [key for key in references if not has(parser.config, key)] == []


def test_the_head_has_few_knobs():
    train = load("train.json")
    head = [*list(train)[: list(train).index("network_def")], "init_weights"]
    knobs = set(head) - {"imports"}
    assert len(knobs) <= MOST_KNOBS
    assert knobs >= {"dataset_dir", "output_dir", "max_iterations", "meta_interval", "alpha", "p_norm", "device"}
    assert not any(isinstance(train[name], dict) for name in knobs)
    assert list(train)[list(train).index("settings") - 3 :][:3] == ["rank", "num_replicas", "on_gpu"]
    assert train["training"] == "@run"  # once, also where everything is evaluated
    assert load("evaluate.json")["run"] == load("evaluate.json")["evaluating"]
    assert "run" in load("inference.json")


def test_defaults_are_the_paper_s():
    train = load("train.json")
    wanted = {
        "max_iterations": 115000,
        "meta_interval": 100,
        "alpha": 0.1,
        "p_norm": 1,
        "normalization": "softmax",
        "learning_rate": 1e-2,
        "iwv_lr": 1e-2,
    }
    assert {name: train[name] for name in wanted} == wanted
    assert train["optimizer"]["momentum"] == 0.99
    assert train["lr_scheduler"]["law"] == "cosine"
    assert train["iwv_optimizer"]["weight_decay"] == 5e-5
    assert train["optimizer"]["nesterov"] is True


def test_saved_metrics_are_computed():
    saver = next(h for h in load("evaluate.json")["validate#handlers"] if h["_target_"] == "MetricsSaver")
    validate = load("train.json")["validate"]
    assert set(saver["metrics"]) == {*validate["key_metric"], *validate["additional_metrics"]}


def test_metadata_agrees_with_vocabulary_and_version():
    metadata = load("metadata.json")
    formats = metadata["network_data_format"]
    assert tuple(formats["inputs"]["image"]["channel_def"].values()) == MODALITY_NAMES
    written = regions_to_labels(
        torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]), load("inference.json")["et_label"]
    )
    assert {int(value) for value in formats["outputs"]["pred"]["channel_def"]} == set(written.flatten().tolist())
    assert metadata["version"] == __version__
    assert metadata["version"] in metadata["changelog"]
    network = load("train.json")["network_def"]
    assert network["in_channels"] == formats["inputs"]["image"]["num_channels"] == len(MODALITY_NAMES)
    assert network["out_channels"] == formats["outputs"]["pred"]["num_channels"] == len(REGION_NAMES)


def test_verify_metadata_offline(tmp_path):
    schema = shutil.copy(
        REPOSITORY / "scripts" / "deploy" / "zoo" / "meta_schema_20240725.json", tmp_path / "schema.json"
    )
    verify_metadata(meta_file=str(BUNDLE / "configs" / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x", "--config_file", "a/configs/train.json"], ["a/configs/train.json"]),
        (["x", "--config_file=a.json"], ["a.json"]),
        (["x", "--config_file", "['a.json','b.json']"], ["a.json", "b.json"]),
        (["x"], []),
        (["x", "--config_file"], [""]),
    ],
)
def test_config_files_on_a_command_line(arguments, expected):
    assert config_files(arguments) == [Path(path) for path in expected]


def test_bundle_root_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not is_bundle(Path(folder))])  # of other tests
    monkeypatch.chdir(tmp_path)
    assert bundle_root() == str(BUNDLE)  # the source checkout
    assert bundle_root("no_such_bundle") == str(tmp_path)
    copy = shutil.copytree(BUNDLE / "configs", tmp_path / "copy" / "configs").parent
    monkeypatch.chdir(copy)
    assert bundle_root() == str(copy)  # the current folder
    other = shutil.copytree(copy, tmp_path / "other")
    monkeypatch.setattr(sys, "argv", ["x", "--config_file", str(other / "configs" / "train.json")])
    assert bundle_root() == str(other)  # the command line
    monkeypatch.setattr(sys, "argv", ["x"])
    monkeypatch.syspath_prepend(str(other))
    assert bundle_root() == str(other)  # where MONAI Deploy puts it


def test_split_is_disjoint_seeded_and_whole(cohort):
    split = split_cases(cohort, seed=0)
    ids = {part: [item["case_id"] for item in items] for part, items in split.items()}
    assert {part: len(members) for part, members in ids.items()} == {"training": 3, "meta": 2, "validation": 1}
    assert sorted(name for part in ids.values() for name in part) == [
        item["case_id"] for item in list_cases(cohort, labelled=True)
    ]
    assert split == split_cases(cohort, seed=0)
    assert any(split != split_cases(cohort, seed=seed) for seed in range(1, 5))


def test_split_refuses_what_cannot_be_split(cohort, tmp_path):
    shutil.copytree(cohort / "Simulated_000", tmp_path / "Simulated_000")
    with pytest.raises(UserError, match="1 cases with a label map found; expected at least 3"):
        split_cases(tmp_path)
    with pytest.raises(UserError, match=r"validation_fraction: 0\.9 found"):
        split_cases(cohort, validation_fraction=0.9)
    with pytest.raises(UserError, match="meta_cases: 0 found; expected an integer of at least 1"):
        split_cases(cohort, meta_cases=0)


@pytest.mark.parametrize(("total", "meta"), [(1, 1), (2, 1), (6, 2), (15, 5), (285, 5), (1251, 5)])
def test_steps_of_the_importance_do_not_grow_with_the_data_set(total, meta):
    assert count_meta(total, load("train.json")["meta_cases"]) == meta


def test_a_training_without_validation_has_all_other_cases(cohort):
    split = split_cases(cohort, meta_cases=1, validation_fraction=0)
    assert {part: len(items) for part, items in split.items()} == {"training": 5, "meta": 1, "validation": 0}


def test_the_paper_s_overlay_holds_what_the_paper_says():
    """Sec. 8, Implementation details; the rest is not printed there, and off."""
    paper = load("paper.json")
    printed = {
        **{"max_iterations": 115000, "meta_interval": 100, "alpha": 0.1, "p_norm": 1, "normalization": "softmax"},
        **{"learning_rate": 1e-2, "optimizer#momentum": 0.99, "lr_scheduler#law": "cosine", "iwv_lr": 1e-2},
        **{"iwv_optimizer#weight_decay": 5e-5, "train#dropping#law": "count", "train#dropping#prob": 1.0},
        **{"validation_fraction": 0, "train#augmentation_transforms": [], "train#modalities": None},
        "validate#additional_metrics#val_hausdorff95#metric_fn#spacing": [1.0, 1.0, 1.0],
    }
    off = {
        **{f"train#dropping#{name}": 0 for name in ("warm_up", "ramp", "single_modality_passes")},
        **{"train#trainer#alpha_warm_up": 0, "train#dropping#subsets_per_sample": 1, "init_weights": None},
        **{"train#trainer#accumulation_steps": 1, "amp": False, "network_def#deep_supervision": False},
    }
    assert paper == printed | off
    parser = read("experimental.json", "paper.json")
    assert {name: parser[name] for name in paper} == paper


def test_bundles_change_nothing_in_the_program_that_runs_them():
    """MONAI Label's server and NVFlare's client run the same JSON."""
    for path in (REPOSITORY / "bundles").glob("*/configs/*.json"):
        text = path.read_text()
        assert not any(word in text for word in ("sys.", "os._exit", "signal", "excepthook", "explain_errors")), path


def test_a_split_s_cases_go_where_it_says(cohort):
    split = split_cases(cohort)
    learnt = join_parts(split)
    assert choose_part(learnt, "training") == split["training"]
    assert choose_part(learnt, "meta") == split["meta"]


def test_meta_cases_are_cut_from_a_list_that_does_not_say():
    """As MONAI Label does, which knows files, not parts."""
    data = [{"image": f"{name}.nii.gz", "label": f"{name}_seg.nii.gz"} for name in "abcd"]
    training, meta = (choose_part(data, part, seed=0, meta_cases=1) for part in ("training", "meta"))
    assert (len(training), len(meta)) == (3, 1)
    assert sorted([*training, *meta], key=str) == data
    assert choose_part(data[::-1], "meta", seed=0) == meta
    assert any(choose_part(data, "meta", seed=seed) != meta for seed in range(1, 9))
    with pytest.raises(UserError, match="1 labelled cases found; expected at least 2"):
        choose_part(data[:1], "training")


def test_training_begins_with_the_weights_and_the_network_that_are_given(tmp_path):
    network = MetaKDUNet(channels=(4, 8, 12), input_stride=2)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "train.json")
    parser.update({"device": "cpu", "init_weights": str(tmp_path / "model.pt")})
    begun = parser.get_parsed_content("network")
    assert begun.training
    assert begun.channels == (4, 8, 12)
    assert begun.factor == network.factor
    assert all(torch.equal(value, begun.state_dict()[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("device", "keeps"), [("cpu", 1), ("cuda", 0)])
def test_training_on_a_cpu_keeps_its_memory(monkeypatch, device, keeps):
    calls = []
    monkeypatch.setattr("metakd_monai.processes.startup.keep_memory", lambda: calls.append(device))
    parser = ConfigParser({**load("train.json"), "device": device})
    parser.get_parsed_content("initialize")
    assert len(calls) == keeps


@pytest.mark.parametrize("there", [True, False])
def test_training_takes_bf16_where_the_device_has_it(there, monkeypatch):
    monkeypatch.setattr("metakd_monai.inferers.precision.has_bf16", lambda device: there)
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / "configs" / "train.json"))
    parser["device"] = "cpu"
    assert parser.get_parsed_content("amp") is there
