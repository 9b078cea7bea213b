"""Ignite handlers: the importance update, dropping of modalities, checkpoints, logs and a progress bar."""

from __future__ import annotations

import csv
import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import PrepareBatchExtraInput
from monai.utils.enums import CommonKeys
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from metakd_monai import __version__
from metakd_monai.data import seed_of
from metakd_monai.equations import fill_error
from metakd_monai.files import write_json, write_safely
from metakd_monai.transforms import RandDropModalitiesd
from metakd_monai.vocabulary import MODALITY_NAMES, REGION_NAMES

logger = logging.getLogger(__name__)


class MetaUpdateHandler:
    """Algorithm 1, upper problem: every ``interval`` iterations, let the importance follow the meta-validation loss.

    One pass over the meta-validation loader with all modalities that each case has. The features of every scale are
    filled, Eq. (2), and weighed by the importance, Eq. (4); the optimizer steps once for each batch. First order: the
    network is held constant, so only the importance gets gradients. Runs before the inner step of its iteration.

    Args:
        network: has ``encode`` and ``decode``; not the DDP wrapper.
        importance: an :class:`~metakd_monai.networks.ImportanceWeights`.
        optimizer: of the importance alone.
        loss_function: l_meta, ``(pred, label)`` to scalar.
        data_loader: the meta-validation set D_v; a sampler with ``seek`` is told which pass this is.
        interval: iterations between updates.
        prepare_batch: as for the trainer; by default PrepareBatchExtraInput("available").
    """

    def __init__(
        self,
        network: nn.Module,
        importance: nn.Module,
        optimizer: Optimizer,
        loss_function: Callable[[Tensor, Tensor], Tensor],
        data_loader: Iterable,
        interval: int = 100,
        prepare_batch: Callable | None = None,
    ) -> None:
        self.network: Any = network
        self.importance, self.optimizer = importance, optimizer
        self.loss_function, self.data_loader, self.interval = loss_function, data_loader, interval
        self.prepare_batch = PrepareBatchExtraInput("available") if prepare_batch is None else prepare_batch
        self.passes = 0
        self.scalars: dict[str, float] = {}

    def attach(self, engine: Engine) -> None:
        """Run before the first iteration and every ``interval`` iterations after it."""
        engine.add_event_handler(Events.ITERATION_STARTED(event_filter=self.is_due), self)

    def is_due(self, engine: Engine, iteration: int) -> bool:
        """Tell whether this (1-based) iteration begins with an update."""
        return (iteration - 1) % self.interval == 0

    def __call__(self, engine: Engine) -> None:
        """Make one pass, and leave what was measured in ``scalars``."""
        sampler: Any = getattr(self.data_loader, "sampler", None)
        if hasattr(sampler, "seek"):
            sampler.seek(self.passes)
        was_training = self.network.training
        self.network.eval()
        steps = [self.step(batch, engine) for batch in self.data_loader]
        self.network.train(was_training)
        self.passes += 1
        means = {name: float(np.nanmean([step[name] for step in steps])) for name in steps[0]}
        weights = self.importance().tolist()
        self.scalars = means | {f"importance_{n}": w for n, w in zip(MODALITY_NAMES, weights, strict=False)}

    def step(self, batch: Mapping[str, Any], engine: Engine) -> dict[str, float]:
        """Move the importance once."""
        image, label, (available,), _ = self.prepare_batch(batch, engine.state.device, False)
        with torch.no_grad():
            features = self.network.encode(image, available)
            distances, similarities = fill_error(features[-1], available)
        logits = self.network.decode(features, available, self.importance(), list(image.shape[2:]))
        loss = self.loss_function(logits, label)
        self.optimizer.zero_grad()
        loss.backward(inputs=list(self.importance.parameters()))
        self.optimizer.step()
        named = zip(MODALITY_NAMES, distances.tolist(), similarities.tolist(), strict=False)
        errors = {key: value for n, d, s in named for key, value in ((f"fill_l2_{n}", d), (f"fill_cosine_{n}", s))}
        return {"meta_loss": loss.item(), **errors}

    def state_dict(self) -> dict[str, Any]:
        """Return how many passes were made; importance and optimizer are saved beside it."""
        return {"passes": self.passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the passes that were made."""
        self.passes = int(state["passes"])


class DropModalitiesHandler:
    """Drop modalities of each training sample anew in each iteration, on a schedule.

    Args:
        seed: of all draws; each depends on it, the iteration and the place in the batch alone.
        law: see :class:`~metakd_monai.transforms.RandDropModalitiesd`.
        prob: full dropping rate.
        warm_up: iterations with everything that is there, as in the official code's first phase.
        ramp: iterations over which the rate then rises from 0 to ``prob``; 0 for a jump.
        rank: of this process, so that ranks draw differently.
    """

    def __init__(
        self, seed: int = 0, law: str = "count", prob: float = 1.0, warm_up: int = 0, ramp: int = 0, rank: int = 0
    ) -> None:
        self.transform = RandDropModalitiesd(law=law)
        self.seed, self.prob, self.warm_up, self.ramp, self.rank = seed, prob, warm_up, ramp, rank

    def attach(self, engine: Engine) -> None:
        """Act on each batch before the inner step."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def rate(self, iteration: int) -> float:
        """Return the dropping rate of a (1-based) iteration."""
        past = iteration - self.warm_up
        if past <= 0:
            return 0.0
        return self.prob * min(1.0, past / self.ramp) if self.ramp else self.prob

    def __call__(self, engine: Engine) -> None:
        """Replace ``available`` ``(B, N)`` in the engine's batch."""
        batch: Any = engine.state.batch
        self.transform.prob = self.rate(engine.state.iteration)
        rows = []
        for place, available in enumerate(batch["available"]):
            self.transform.set_random_state(seed_of(self.seed, 2, engine.state.iteration, self.rank, place))
            rows.append(self.transform({"available": available})["available"])
        batch["available"] = torch.stack(rows)


class CheckpointHandler:
    """Save everything that a run needs to go on exactly, and the network alone when it is done.

    ``checkpoint.pt`` holds the state of all ``objects``, of the engine and of the random generators; ``model.pt`` is
    the network's plain state dict. Both load with ``weights_only``, both are written whole or not at all.

    Args:
        output_dir: where to.
        objects: what to save, by name; must have ``network``.
        interval: iterations between checkpoints.
        resume: go on from ``checkpoint.pt`` if it is there; else start afresh (and replace it).
        settings: of the run, plain values. They are written to ``settings.json`` with the version, and a checkpoint
            of other settings is refused: its run cannot be gone on with exactly.
    """

    FILE = "checkpoint.pt"
    MODEL = "model.pt"
    SETTINGS = "settings.json"

    def __init__(
        self,
        output_dir: str | Path,
        objects: Mapping[str, Any],
        interval: int = 100,
        resume: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.objects, self.interval, self.resume = dict(objects), interval, resume
        self.settings = json.loads(json.dumps({"version": __version__, **(settings or {})}, default=str))

    def attach(self, engine: Engine) -> None:
        """Load when the engine starts; save as it goes and when it is done."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def load(self, engine: Engine) -> None:
        """Take up a run that was stopped, with the engine's own ``max_epochs``; note the settings."""
        path = self.output_dir / self.FILE
        if self.resume and path.is_file():
            self.take_up(path, engine)
        if not is_follower(engine):
            write_json(self.output_dir / self.SETTINGS, self.settings)

    def take_up(self, path: Path, engine: Engine) -> None:
        """Load a checkpoint; raises ValueError when it is not of this training."""
        state = torch.load(path, map_location=engine.state.device, weights_only=True)
        missing = sorted(set(self.objects) - set(state))
        if missing:
            raise ValueError(
                f"{path}: holds no {missing[0]!r}; expected a checkpoint of this training. Use --resume False."
            )
        for name, value in self.settings.items():
            if state["settings"].get(name) != value:
                found = state["settings"].get(name)
                raise ValueError(
                    f"{path}: {name} was {found}; expected {value} as now. Use --resume False to start anew."
                )
        for name, item in self.objects.items():
            item.load_state_dict(state[name])
        max_epochs = engine.state.max_epochs
        engine.load_state_dict({**engine.state_dict(), "iteration": state["iteration"]})
        engine.state.max_epochs = max_epochs
        set_random_states(state["random"])
        logger.info("resuming from %s at iteration %d", path, state["iteration"])

    def save(self, engine: Engine) -> None:
        """Write ``checkpoint.pt``."""
        if is_follower(engine):
            return
        state = {name: item.state_dict() for name, item in self.objects.items()}
        state |= {"iteration": engine.state.iteration, "random": get_random_states(), "settings": self.settings}
        write_safely(self.output_dir / self.FILE, lambda path: torch.save(state, path))

    def finish(self, engine: Engine) -> None:
        """Write the last ``checkpoint.pt`` and ``model.pt``."""
        self.save(engine)
        if is_follower(engine):
            return
        weights = {name: value.detach().cpu() for name, value in self.objects["network"].state_dict().items()}
        write_safely(self.output_dir / self.MODEL, lambda path: torch.save(weights, path))


def get_random_states() -> dict[str, Any]:
    """Return the states of all global generators as tensors and plain values."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, spare = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), int(position), int(has_gauss), float(gauss)],
        "python": [version, list(internal), spare],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Put back what :func:`get_random_states` returned."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, spare = states["python"]
    random.setstate((version, tuple(internal), spare))


class ScalarLogHandler:
    """Write numbers of a training run to ``<output_dir>/<name>.csv`` and to TensorBoard.

    A resumed run first drops the rows that were written after its checkpoint.

    Args:
        output_dir: where to; TensorBoard's files go to ``<output_dir>/tensorboard``.
        name: of the table, and group of the TensorBoard scalars.
        read: gives the numbers of a row from the trainer; None or empty for no row.
        interval: iterations between rows.
    """

    def __init__(
        self,
        output_dir: str | Path,
        name: str,
        read: Callable[[Engine], Mapping[str, float] | None],
        interval: int = 1,
    ) -> None:
        self.path = Path(output_dir) / f"{name}.csv"
        self.name, self.read, self.interval = name, read, interval
        self.writer: Any = None

    def attach(self, engine: Engine) -> None:
        """Log after every ``interval`` iterations."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Append one row."""
        row = self.read(engine)
        if not row or is_follower(engine):
            return
        iteration = engine.state.iteration
        table = {"iteration": iteration, **row}
        if self.writer is None:
            self.open(iteration)
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            rows = csv.DictWriter(stream, fieldnames=list(table), lineterminator="\n")
            if is_new:
                rows.writeheader()
            rows.writerow(table)
        for key, value in row.items():
            self.writer.add_scalar(f"{self.name}/{key}", value, iteration)

    def open(self, iteration: int) -> None:
        """Start writing at an iteration: keep only the rows before it."""
        from torch.utils.tensorboard import SummaryWriter

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.writer = SummaryWriter(str(self.path.parent / "tensorboard" / self.name), purge_step=iteration)
        if self.path.exists():
            header, *rows = self.path.read_text().splitlines(keepends=True)
            kept = [row for row in rows if int(row.split(",", 1)[0]) < iteration]
            write_safely(self.path, lambda path: path.write_text("".join([header, *kept])))


class LossReader:
    """Read the inner step's losses and the learning rate from a trainer, for :class:`ScalarLogHandler`.

    Args:
        optimizer: of the network.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Return loss, task_loss, distillation_loss and lr."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        names = (CommonKeys.LOSS, "task_loss", "distillation_loss")
        return {str(name): float(first[name]) for name in names} | {"lr": self.optimizer.param_groups[0]["lr"]}


class MetaReader:
    """Read what a :class:`MetaUpdateHandler` measured in its iterations, for :class:`ScalarLogHandler`.

    Args:
        handler: the meta update.
    """

    def __init__(self, handler: MetaUpdateHandler) -> None:
        self.handler = handler

    def __call__(self, engine: Engine) -> Mapping[str, float] | None:
        """Return importance, meta loss and fill errors after an update; None in between."""
        return self.handler.scalars if self.handler.is_due(engine, engine.state.iteration) else None


class MetricReader:
    """Read an evaluator's newest metrics, for :class:`ScalarLogHandler`.

    Args:
        evaluator: whose ``state.metrics`` to read.
        names: of the channels of metrics that have several.
    """

    def __init__(self, evaluator: Engine, names: Iterable[str] = REGION_NAMES) -> None:
        self.evaluator, self.names = evaluator, list(names)

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Return one number for each metric, or for each metric and channel."""
        row: dict[str, float] = {}
        for key, value in self.evaluator.state.metrics.items():
            values = torch.as_tensor(value).flatten().tolist()
            labels = [key] if len(values) == 1 else [f"{key}_{name}" for name in self.names]
            row |= dict(zip(labels, values, strict=True))
        return row


def is_follower(engine: Engine) -> bool:
    """Tell whether this process is one of several and not the first, which alone writes and shows."""
    return getattr(engine.state, "rank", 0) > 0


class ProgressHandler:
    """Show a progress bar over the whole run in a terminal, nothing when piped.

    Args:
        total: iterations of the run.
        description: text before the bar.
    """

    def __init__(self, total: int, description: str = "training") -> None:
        self.total, self.description = total, description
        self.bar: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow the engine's iterations."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.advance)
        engine.add_event_handler(Events.COMPLETED, self.close)

    def start(self, engine: Engine) -> None:
        """Show the bar where a resumed run stands."""
        if self.bar is None:
            hidden = True if is_follower(engine) else None  # None: hidden unless in a terminal
            start = engine.state.iteration
            self.bar = tqdm(total=self.total, initial=start, desc=self.description, unit="step", disable=hidden)

    def advance(self, engine: Engine) -> None:
        """Move on by one iteration."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) and output else output
        if isinstance(first, Mapping) and CommonKeys.LOSS in first:
            self.bar.set_postfix(loss=f"{float(first[CommonKeys.LOSS]):.3f}", refresh=False)
        self.bar.update(1)

    def close(self) -> None:
        """Leave the bar as it ended."""
        if self.bar is not None:
            self.bar.close()
