"""Many tasks for many workers, whoever they are; each exactly once, also when workers are lost."""

from metakd_monai.processes.workers.pool import Processes
from metakd_monai.processes.workers.sharing import Dispatcher, Worker, WorkerLost, WorkerPool

__all__ = ["Dispatcher", "Processes", "Worker", "WorkerLost", "WorkerPool"]
