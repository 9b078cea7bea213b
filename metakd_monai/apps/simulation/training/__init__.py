"""A simulator for training: brains of an atlas or of real cases, gliomas, and effects of scanners."""

from metakd_monai.apps.simulation.training.anatomy import Anatomy, load_anatomies
from metakd_monai.apps.simulation.training.simulated_case import simulate
from metakd_monai.apps.simulation.training.transform import RandSimulated, simulated_split

__all__ = ["Anatomy", "RandSimulated", "load_anatomies", "simulate", "simulated_split"]
