"""Trainings in separate processes, several at a time; none outlives the process that started it."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from metakd_monai.apps.arena.cell import LOG, Cell, Train, run_cell
from metakd_monai.errors import explain, in_one_line
from metakd_monai.processes.endings import SOME_FAILED, end_with_parent
from metakd_monai.processes.startup import keep_memory
from metakd_monai.processes.workers.pool import END_SECONDS, describe, signals_held

CONTEXT = get_context("spawn")


def run_cells(cells: Sequence[Cell], train: Train, jobs: int, device: str) -> Iterator[tuple[Cell, str | None]]:
    """Run cells, and yield each as it ends with the reason why it failed, or None.

    Args:
        cells: what to do.
        train: trains; picklable.
        jobs: processes at a time; they share the threads of this one.
        device: ``"cuda"`` for all GPUs in turn, or one for all.
    """
    threads = max(1, torch.get_num_threads() // jobs)  # OMP_NUM_THREADS, or the cores
    places = [f"cuda:{n}" for n in range(torch.cuda.device_count())] if device == "cuda" else [device]
    waiting, free = deque(cells), list(range(jobs))
    running: dict[Any, tuple[Any, Cell, int]] = {}
    try:
        while waiting or running:
            while waiting and free:
                slot = free.pop(0)
                cell = replace(waiting.popleft(), device=places[slot % len(places)], threads=threads)
                process = CONTEXT.Process(target=work, args=(cell, train))
                with signals_held():
                    process.start()
                running[process.sentinel] = (process, cell, slot)
            for sentinel in wait(list(running)):
                process, cell, slot = running.pop(sentinel)
                process.join()
                free.append(slot)
                yield cell, why_failed(process.exitcode, cell.folder / LOG)
    finally:
        stop([process for process, _, _ in running.values()])


def stop(processes: Sequence[Any]) -> None:
    """End processes: first politely, so that they clean up, then by force."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(END_SECONDS)
        process.kill()
        process.join()


def why_failed(exitcode: int, log: Path) -> str | None:
    """Return why a process failed, that is, the last line that it wrote; None if it did not fail."""
    if exitcode == 0:
        return None
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() and exitcode > 0 else []
    return in_one_line(lines[-1], 400) if lines else describe(exitcode)


def work(cell: Cell, train: Train) -> None:
    """Run a cell in this process, whose output goes to its log."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(SOME_FAILED))  # so that `finally` is run
    keep_memory()
    cell.folder.mkdir(parents=True, exist_ok=True)
    with (cell.folder / LOG).open("a") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("metakd_monai").setLevel(logging.INFO)
    torch.set_num_threads(cell.threads)
    try:
        run_cell(cell, train)
    except Exception as error:  # whatever a training raises, the other cells are done
        logging.getLogger(__name__).debug("traceback", exc_info=True)
        sys.stderr.write(f"{explain(error)}\n")
        sys.exit(SOME_FAILED)
