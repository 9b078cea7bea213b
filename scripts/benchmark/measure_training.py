"""One measurement of training.py, in a process of its own. Usage: measure_training.py TASK (JSON)."""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines import PrepareBatchExtraInput, SupervisedTrainer
from monai.networks.nets import DynUNet, SegResNet
from torch import nn

from metakd_monai.engines.trainer import AMP_DTYPES, MetaKDTrainer
from metakd_monai.handlers import TimingReader
from metakd_monai.inferers.precision import choose_precision
from metakd_monai.losses import DiceBCELoss
from metakd_monai.networks import ImportanceWeights, MetaKDUNet

CONFIG = Path(__file__).resolve().parents[2] / "bundles" / "brats_mri_metakd_segmentation" / "configs" / "train.json"
NEVER = 10**9
GIB = 2**30


def widths(task: dict[str, Any]) -> list[int]:
    """Return the widths that were asked for, or the bundle's."""
    return list(task["channels"] or json.loads(CONFIG.read_text())["network_def"]["channels"])


def make_peer(name: str, channels: Sequence[int]) -> nn.Module:
    """Return a peer's network, four channels in, three out."""
    if name == "segresnet":  # the Model Zoo's BraTS bundle
        return SegResNet(
            in_channels=4,
            out_channels=3,
            init_filters=16,
            blocks_down=(1, 2, 2, 4),
            blocks_up=(1, 1, 1),
            dropout_prob=0.2,
        )
    kernels, strides = [3] * len(channels), [1] + [2] * (len(channels) - 1)
    return DynUNet(3, 4, 3, kernels, strides, strides[1:], filters=channels, norm_name=("instance", {"affine": True}))


class AutocastNetwork(nn.Module):
    """A peer in mixed precision on any device, as the trainer of ours has it; MONAI's has it on CUDA alone."""

    def __init__(self, network: nn.Module, device: str, precision: str) -> None:
        super().__init__()
        self.network, self.device, self.precision = network, device, precision

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(B, 3, *S)`` in fp32."""
        if self.precision in ("auto", "fp32"):
            logits: torch.Tensor = self.network(x)
            return logits
        with torch.autocast(torch.device(self.device).type, AMP_DTYPES[self.precision]):
            logits = self.network(x)
        return logits.float()


def make_trainer(task: dict[str, Any], batches: list[dict[str, torch.Tensor]]) -> SupervisedTrainer:
    """Return a trainer that makes one step with each batch."""
    common: dict[str, Any] = {"device": task["device"], "max_epochs": 1, "train_data_loader": batches}
    if not task["network"].startswith("ours"):
        peer = AutocastNetwork(make_peer(task["network"], widths(task)), task["device"], task["precision"])
        peer = peer.to(task["device"])
        optimizer = torch.optim.SGD(peer.parameters(), lr=0.01, momentum=0.99, nesterov=True)
        return SupervisedTrainer(network=peer, optimizer=optimizer, loss_function=DiceBCELoss(), **common)
    network = MetaKDUNet(channels=widths(task)).to(task["device"])
    precision = task["precision"]
    if precision == "auto":  # as train.json has it
        precision = choose_precision("auto", torch.device(task["device"]))
        if task["device"] == "cpu":
            network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # not in PyTorch's types
    return MetaKDTrainer(
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True),
        loss_function=DiceBCELoss(),
        importance=ImportanceWeights().to(task["device"]),
        prepare_batch=PrepareBatchExtraInput("available"),
        amp=precision != "fp32",
        amp_dtype="bf16" if precision == "fp32" else precision,
        **common,
    )


def make_batch(task: dict[str, Any], crop: Sequence[int]) -> dict[str, torch.Tensor]:
    """Return images ``(B, 4, *S)``, labels ``(B, 3, *S)``, and availability ``(B, 4)`` of another subset in each."""
    batch_size, name = task["batch_size"], task["network"]
    present = int(name[-1]) if name.startswith("ours") else 4
    rows = [torch.arange(4).roll(sample) < present for sample in range(batch_size)]
    label = (torch.rand(batch_size, 3, *crop) > 0.9).float()
    return {"image": torch.randn(batch_size, 4, *crop), "label": label, "available": torch.stack(rows)}


def peak_gib(device: str) -> float:
    """Return the process' largest resident size so far, or the largest allocation on a GPU."""
    if torch.device(device).type == "cuda":
        return float(torch.cuda.max_memory_allocated() / GIB)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / GIB


def measure_step(task: dict[str, Any]) -> dict[str, Any]:
    """Time ``repeats`` steps, after one of half the crop."""
    torch.manual_seed(0)
    half = [max(16, size // 32 * 16) for size in task["crop"]]
    full = make_batch(task, task["crop"])
    trainer = make_trainer(task, [make_batch(task, half), *(dict(full) for _ in range(task["repeats"]))])
    before, clock = peak_gib(task["device"]), []

    def note(engine: Engine) -> None:
        if torch.device(task["device"]).type == "cuda":
            torch.cuda.synchronize()
        clock.append(time.perf_counter())

    trainer.add_event_handler(Events.ITERATION_STARTED, note)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note)
    trainer.run()
    seconds = [end - start for start, end in zip(clock[2::2], clock[3::2], strict=True)]
    return {"seconds": seconds, "peak_gib": peak_gib(task["device"]), "before_gib": before}


def measure_loading(task: dict[str, Any]) -> dict[str, Any]:
    """Run the bundle's training for some steps; return how long each waited and worked, but for the first."""
    config = json.loads(CONFIG.read_text())
    with tempfile.TemporaryDirectory() as output:
        config |= {"dataset_dir": task["cases"], "output_dir": output, "device": task["device"]}
        config |= {"roi_size": task["crop"], "batch_size": task["batch_size"], "num_workers": task["num_workers"]}
        config |= {"max_iterations": task["steps"] + 1, "val_interval": NEVER, "checkpoint_interval": NEVER}
        config |= {"meta_interval": NEVER, "amp": task["precision"] != "fp32"}
        config["train"]["trainer"]["amp_dtype"] = "bf16" if task["precision"] == "fp32" else task["precision"]
        config["network_def"]["channels"] = widths(task)
        parser = ConfigParser(config)
        parser.get_parsed_content("initialize#0")  # the seeds
        trainer, handlers = parser.get_parsed_content("train#trainer"), parser.get_parsed_content("train#handlers")
        timing = next(handler for handler in handlers if isinstance(handler, TimingReader))
        rows: list[dict[str, float]] = []
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: rows.append(timing(engine)))
        trainer.run()
    return {key: [row[key] for row in rows[1:]] for key in ("data_seconds", "step_seconds")}


def main(task: dict[str, Any]) -> int:
    """Measure what the task says; print JSON."""
    print(json.dumps(measure_loading(task) if "num_workers" in task else measure_step(task)))
    return 0


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
