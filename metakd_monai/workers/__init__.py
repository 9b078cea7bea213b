"""Many tasks for many workers, whoever they are; each exactly once, also when workers are lost."""

from metakd_monai.workers.processes import Processes
from metakd_monai.workers.sharing import Crew, Shift, Worker, WorkerLost

__all__ = ["Crew", "Processes", "Shift", "Worker", "WorkerLost"]
