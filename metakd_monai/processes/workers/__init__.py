"""Many tasks for many workers; each task is done exactly once, even if workers are lost."""

from metakd_monai.processes.workers.pool import Processes
from metakd_monai.processes.workers.sharing import Dispatcher, Worker, WorkerLost, WorkerPool

__all__ = ["Dispatcher", "Processes", "Worker", "WorkerLost", "WorkerPool"]
