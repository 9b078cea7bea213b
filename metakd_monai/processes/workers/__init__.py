"""Many tasks for many workers, whoever they are; each exactly once, also when workers are lost."""

from metakd_monai.processes.workers.pool import Processes
from metakd_monai.processes.workers.sharing import Crew, Shift, Worker, WorkerLost

__all__ = ["Crew", "Processes", "Shift", "Worker", "WorkerLost"]
