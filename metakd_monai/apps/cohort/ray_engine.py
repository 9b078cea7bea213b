"""``--engine ray``: workers are actors of a Ray cluster, or of a local Ray that is started and ended here."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from metakd_monai.apps.cohort.worker import MakePredictor, Outcome, Worker, share
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.data.cases import Case
from metakd_monai.errors import UserError, in_one_line
from metakd_monai.processes.workers import WorkerLost, WorkerPool

STORE_BYTES = 100 * 2**20  # of a local Ray's object store, which holds no images
KNOCK_SECONDS = 10.0
OLDEST = (2, 60)  # from this version on, a Ray started here refuses processes that lack its token (tested)
DEVICES = ("auto", "cpu", "cuda")


def do_in_ray(
    make: MakePredictor, cases: Sequence[Case], outputs: Outputs, device: str, jobs: int | None, address: str | None
) -> Generator[Outcome, None, None]:
    """Yield the outcome of each case as soon as it is known.

    Args:
        make: returns the predictor; called with ``device`` ``cuda`` or ``cpu``.
        cases: what to do; every node must see their files.
        outputs: what to write, to a folder that every node sees.
        device: ``cuda`` for one actor on each GPU of the cluster, ``cpu``, or ``auto`` for GPUs if there are any.
        jobs: how many actors; default one for each GPU, or one on CPUs.
        address: of a running cluster (``auto``, ``host:port``); None to start a local Ray.

    Raises:
        UserError: when Ray does not answer or has no such device.
    """
    with ray_running(address, jobs) as ray:
        size, options, threads = share_resources(ray, device, jobs)
        device = "cuda" if "num_gpus" in options else "cpu"
        outputs = replace(outputs, directory=absolute(outputs.directory))
        actor = ray.remote(Worker).options(max_restarts=0, max_task_retries=0, **options)
        pool = Actors(ray, actor, partial(make, device=device), outputs, threads)
        yield from share(pool, [with_absolute_paths(case) for case in cases], size, outputs)


def check_ray(device: str) -> None:
    """Check Ray and the device before anything starts; raises UserError when either cannot be used."""
    if find_spec("ray") is None:
        raise UserError("--engine ray: Ray is not installed; expected after pip install 'metakd-monai[ray]'")
    found = version("ray")
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise UserError(f"--engine ray: Ray {found} found, which lets anyone in; expected {oldest} or later")
    if device not in DEVICES:
        raise UserError(f"device: {device!r} with --engine ray, which hands out devices; expected {', '.join(DEVICES)}")


@contextmanager
def ray_running(address: str | None, jobs: int | None) -> Iterator[Any]:
    """Connect to a cluster or start a local one; keep an existing connection of this process."""
    import ray

    if ray.is_initialized():
        yield ray
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"address": address}
    if address is None:
        cores = max(jobs or 1, os.cpu_count() or 1)
        options = {
            "address": "local", "num_cpus": cores, "object_store_memory": STORE_BYTES, "include_dashboard": False
        }  # fmt: skip
    try:
        check_address(address)
        before = signal.getsignal(signal.SIGTERM)
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        reason = in_one_line(error)
        raise UserError(f"--address: no Ray at {address or 'this machine'} ({reason})") from None
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)  # Ray installs its own handler, which ends the process silently
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str | None) -> None:
    """Try ``host:port`` first, because Ray tries for minutes, then ends the process; raises OSError or ValueError."""
    if address is None or address == "auto" or "://" in address:
        return
    host, _, port = address.rpartition(":")
    socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def share_resources(ray: Any, device: str, jobs: int | None) -> tuple[int, dict[str, int], int | None]:
    """Return how many actors to start, what each needs, and its threads (None: as Ray sets them).

    Raises:
        UserError: if GPUs are requested and there are none.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if device == "cuda" and not gpus:
        raise UserError("device: 'cuda' asked for, and the Ray cluster has no GPU; expected auto or cpu")
    if gpus and device != "cpu":
        return min(jobs or gpus, gpus), {"num_gpus": 1}, None
    cores = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1] or [1]
    size = jobs or 1
    threads = max(1, min(sum(cores) // size, min(cores)))
    return size, {"num_cpus": threads}, threads


class Actor:
    """A worker as an actor.

    Args:
        ray: the module.
        handle: of the actor.
    """

    def __init__(self, ray: Any, handle: Any) -> None:
        self.ray, self.handle = ray, handle
        self.pid: int | None = None
        self.answer = handle.start.remote()

    def send_task(self, case: Case, following: Case | None) -> None:
        """Send the actor a case."""
        self.answer = self.handle.do.remote(case, following)

    def receive_answer(self) -> Outcome | None:
        """Fetch the answer of :class:`Worker`."""
        try:
            answer = self.ray.get(self.answer)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, UserError):
                raise error.cause from None
            raise WorkerLost(f"{type(error.cause).__name__}: {error.cause}") from None
        except self.ray.exceptions.RayError as error:
            raise WorkerLost(str(error).strip().splitlines()[0]) from None
        if isinstance(answer, Outcome):
            return answer
        self.pid = answer
        return None

    def stop(self) -> None:
        """Kill the actor."""
        self.ray.kill(self.handle)


class Actors(WorkerPool[Actor]):
    """Workers in a Ray cluster.

    Args:
        ray: the module.
        actor: the class with its options.
        arguments: of :class:`Worker`.
    """

    def __init__(self, ray: Any, actor: Any, *arguments: Any) -> None:
        self.ray, self.actor, self.arguments = ray, actor, arguments

    def start_worker(self) -> Actor:
        """Ask for another actor, which starts as soon as there is room for it."""
        return Actor(self.ray, self.actor.remote(*self.arguments))

    def wait(self, handles: Sequence[Actor], seconds: float | None) -> list[Actor]:
        """Wait until an answer arrives, or none can arrive any more."""
        by_answer = {handle.answer: handle for handle in handles}
        ready, _ = self.ray.wait(list(by_answer), num_returns=1, timeout=seconds)
        return [by_answer[answer] for answer in ready]


def with_absolute_paths(case: Case) -> Case:
    """Return a case with absolute file names."""
    label = None if case.label is None else absolute(case.label)
    if isinstance(case.files, Path):
        return replace(case, files=absolute(case.files), label=label)
    return replace(case, files={modality: absolute(path) for modality, path in case.files.items()}, label=label)


def absolute(path: Path) -> Path:
    """Make a path absolute, links left as they are."""
    return Path(os.path.abspath(path))
