"""How much time of a training run is spent waiting for data."""

from __future__ import annotations

from ignite.engine import Engine, Events
from ignite.handlers import Timer


class TimingReader:
    """Tell how long iterations wait for data, for :class:`~metakd_monai.handlers.ScalarLogHandler`.

    Attach it after the handler that logs the losses (which waits for the GPU) and before validation, whose time then
    does not count. Ignite's BasicTimeProfiler would keep every iteration of every epoch and forget a resumed run.
    """

    def __init__(self) -> None:
        self.waiting, self.working = Timer(), Timer()
        self.start_anew()

    def start_anew(self) -> None:
        """Stop both clocks and set them to 0."""
        for timer in (self.waiting, self.working):
            timer.reset()
            timer.pause()

    def attach(self, engine: Engine) -> None:
        """Follow the engine's batches and iterations."""
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.waiting.resume)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self.waiting.pause)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self.working.resume)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.working.pause)

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Return the seconds since the last row that went into waiting for data and into work, and waiting's share."""
        waiting, working = self.waiting.value(), self.working.value()
        self.start_anew()
        return {
            "data_seconds": waiting,
            "step_seconds": working,
            "data_share": waiting / max(waiting + working, 1e-9),
        }
