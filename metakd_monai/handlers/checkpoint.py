"""Checkpoints, from which a stopped run continues exactly."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from metakd_monai import __version__
from metakd_monai.data.files import write_json, write_stream
from metakd_monai.data.fingerprint import TRAINING_CODE, code_fingerprint
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.handlers.ranks import is_follower
from metakd_monai.handlers.soundness import CHECKPOINT, check_states

logger = logging.getLogger(__name__)

CODE = {"version": __version__, "code_sha256": code_fingerprint(TRAINING_CODE)}


class CheckpointHandler:
    """Save everything that a run needs to continue exactly, and the network alone at the end.

    ``checkpoint.pt`` holds the state of all ``objects``, of the engine (a MetaKDTrainer's loss scale and accumulated
    gradients included) and of the random generators; ``model.pt`` is the network's plain state dict. Both load with
    ``weights_only``, both are written whole or not at all, and never with numbers that are NaN or infinite.

    Args:
        output_dir: where to.
        objects: what to save, by name; must have ``network``.
        interval: iterations between checkpoints.
        resume: continue from an existing ``checkpoint.pt``; otherwise start anew and replace it.
        settings: of the run, plain values. They are written to ``settings.json`` with the version and the fingerprint
            of the code. A checkpoint of other settings or other training code is refused, because its run could not be
            continued exactly.
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
        self.settings = json.loads(json.dumps({**CODE, **(settings or {})}, default=str))

    def attach(self, engine: Engine) -> None:
        """Load when the engine starts; save during the run and at its end."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.interval), self.save)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def load(self, engine: Engine) -> None:
        """Resume a stopped run, with the engine's own ``max_epochs``; write the settings.

        Raises:
            UserError: when the checkpoint is damaged or of another training, or a file cannot be written.
        """
        path = self.output_dir / self.FILE
        if self.resume and path.is_file():
            self.take_up(path, engine)
        if not is_follower(engine):
            write_json(self.output_dir / self.SETTINGS, self.settings)

    def take_up(self, path: Path, engine: Engine) -> None:
        """Load a checkpoint; raises UserError when it is damaged or of another training."""
        state = read_checkpoint(path, engine.state.device)
        missing = sorted({*self.objects, "iteration", "random"} - set(state))
        if missing:
            raise UserError(
                f"{path}: holds no {missing[0]!r}; expected a checkpoint of this training. Use --resume False."
            )
        settings = state.get("settings", {})
        if settings.get("code_sha256") != CODE["code_sha256"]:
            raise UserError(
                f"{path}: saved by other training code (metakd_monai {settings.get('version')}); expected this one's"
                f" ({__version__}). Go on with that version, or start anew with --resume False, from these weights with"
                f" --init_weights {path} too."
            )
        for name, value in self.settings.items():
            if name not in CODE and (found := settings.get(name)) != value:
                raise UserError(
                    f"{path}: {name} was {found}; expected {value} as now. Use --resume False to start anew."
                )
        for name, item in self.objects.items():
            try:
                item.load_state_dict(state[name])
            except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:  # of another kind or shape
                reason = in_one_line(error)
                raise UserError(
                    f"{path}: {name} does not fit ({reason}); expected one of this training. Use --resume False."
                ) from None
        if hasattr(engine, "load_inner_state"):
            engine.load_inner_state(state["inner"])
        max_epochs = engine.state.max_epochs
        engine.load_state_dict({**engine.state_dict(), "iteration": state["iteration"]})
        engine.state.max_epochs = max_epochs
        set_random_states(state["random"])
        self.note(engine)
        logger.info("resuming from %s at iteration %d", path, state["iteration"])

    def save(self, engine: Engine) -> None:
        """Write ``checkpoint.pt``; raises UserError when a number in it is not finite, or it cannot be written."""
        if is_follower(engine):
            return
        state = {name: item.state_dict() for name, item in self.objects.items()}
        check_states(engine, state, getattr(engine, "optimizer", None))
        state |= {"iteration": engine.state.iteration, "random": get_random_states(), "settings": self.settings}
        if hasattr(engine, "inner_state"):
            state["inner"] = engine.inner_state()
        write_stream(self.output_dir / self.FILE, lambda stream: torch.save(state, stream))
        self.note(engine)

    def note(self, engine: Engine) -> None:
        """Note the last checkpoint in the engine's state, for messages about a failed iteration."""
        setattr(engine.state, CHECKPOINT, f"{self.output_dir / self.FILE} of iteration {engine.state.iteration}")

    def finish(self, engine: Engine) -> None:
        """Write the last ``checkpoint.pt`` and ``model.pt``."""
        self.save(engine)
        if is_follower(engine):
            return
        weights = {name: value.detach().cpu() for name, value in self.objects["network"].state_dict().items()}
        write_stream(self.output_dir / self.MODEL, lambda stream: torch.save(weights, stream))


def read_checkpoint(path: Path, device: torch.device | str) -> dict[str, Any]:
    """Read what :class:`CheckpointHandler` wrote; raises UserError when it is damaged, or something else."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception:  # of a damaged archive, PyTorch raises all kinds
        what = "unreadable or cut off" if path.stat().st_size else "empty"
        raise UserError(
            f"{path}: {what}; expected a checkpoint of this training. Delete it, or use --resume False, to start anew."
        ) from None
    if not isinstance(state, dict):
        raise UserError(f"{path}: holds a {type(state).__name__}; expected a checkpoint. Use --resume False.")
    return state


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
    """Restore what :func:`get_random_states` returned."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, spare = states["python"]
    random.setstate((version, tuple(internal), spare))
