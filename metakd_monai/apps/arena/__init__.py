"""Methods side by side: each trained on the same cases, steps and seeds, scored on the cases left out, and tested."""

from metakd_monai.apps.arena.arena_run import run_plan
from metakd_monai.apps.arena.plan import Plan, read_plan

__all__ = ["Plan", "read_plan", "run_plan"]
