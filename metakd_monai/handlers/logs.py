"""Logs and progress bar of a training run."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys
from torch.optim import Optimizer
from tqdm import tqdm

from metakd_monai.data.files import write_safely
from metakd_monai.errors import UserError
from metakd_monai.handlers.meta_pass import MetaPassHandler, NoMetaPassHandler
from metakd_monai.handlers.ranks import is_follower, mean_over_ranks
from metakd_monai.vocabulary import REGION_NAMES

LOSS_PARTS = ("task_loss", "distillation_loss", "subset_loss", "auxiliary_loss")  # in the trainer's output


class ScalarLogHandler:
    """Write numbers of a training run to ``<output_dir>/<name>.csv`` and to TensorBoard.

    A resumed run first drops the rows that were written after its checkpoint. An unwritable folder raises UserError.

    Args:
        output_dir: where to; TensorBoard's files go to ``<output_dir>/tensorboard``.
        name: of the table, and group of the TensorBoard scalars.
        read: returns the numbers of a row, given the trainer; None or empty for no row.
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
        table = {"iteration": engine.state.iteration, **row}
        try:
            self.write(table)
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"{self.path}: cannot be written ({reason}); expected a writable folder") from None

    def write(self, table: Mapping[str, float]) -> None:
        """Append a row with its iteration to the table and to TensorBoard; raises OSError."""
        iteration = int(table["iteration"])
        if self.writer is None:
            self.open(iteration)
        is_new = not self.path.exists()
        with self.path.open("a", newline="") as stream:
            rows = csv.DictWriter(stream, fieldnames=list(table), lineterminator="\n")
            if is_new:
                rows.writeheader()
            rows.writerow(table)
        for key, value in table.items():
            if key != "iteration":
                self.writer.add_scalar(f"{self.name}/{key}", value, iteration)

    def open(self, iteration: int) -> None:
        """Start writing at an iteration: keep only the rows before it."""
        from torch.utils.tensorboard import SummaryWriter

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.writer = SummaryWriter(str(self.path.parent / "tensorboard" / self.name), purge_step=iteration)
        if self.path.exists():
            header, *rows = self.path.read_text().splitlines(keepends=True)
            whole = [row for row in rows if row.endswith("\n") and row.split(",", 1)[0].isdigit()]
            kept = [row for row in whole if int(row.split(",", 1)[0]) < iteration]
            write_safely(self.path, lambda path: path.write_text("".join([header, *kept])))


def scalar(value: torch.Tensor | float) -> float:
    """Return a loss as a number; without decollation it still carries its gradient graph."""
    return float(torch.as_tensor(value).detach())


class LossReader:
    """Read the inner step's losses and the learning rate from a trainer, for :class:`ScalarLogHandler`.

    Args:
        optimizer: of the network.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Return the loss, those of its parts that exist, as means over all processes, and the learning rate."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        names = (CommonKeys.LOSS, *LOSS_PARTS)
        found = {str(name): scalar(first[name]) for name in names if name in first}
        losses = mean_over_ranks(found, engine.state.device)
        return losses | {"lr": self.optimizer.param_groups[0]["lr"]}


class MetaReader:
    """Read what a handler measured on the meta-validation cases in its iterations, for :class:`ScalarLogHandler`.

    Args:
        handler: the meta update, the election of teachers, or neither.
    """

    def __init__(self, handler: MetaPassHandler | NoMetaPassHandler) -> None:
        self.handler = handler

    def __call__(self, engine: Engine) -> Mapping[str, float] | None:
        """Return the ``scalars`` of the last pass; None between passes."""
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
        """Show the bar, for a resumed run at its iteration."""
        if self.bar is None:
            hidden = True if is_follower(engine) else None  # None: hidden unless in a terminal
            start = engine.state.iteration
            self.bar = tqdm(total=self.total, initial=start, desc=self.description, unit="step", disable=hidden)

    def advance(self, engine: Engine) -> None:
        """Advance by one iteration."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) and output else output
        if isinstance(first, Mapping) and CommonKeys.LOSS in first:
            self.bar.set_postfix(loss=f"{scalar(first[CommonKeys.LOSS]):.3f}", refresh=False)
        self.bar.update(1)

    def close(self) -> None:
        """Close the bar and leave it on the screen."""
        if self.bar is not None:
            self.bar.close()
