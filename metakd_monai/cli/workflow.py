"""Run a configuration by MONAI in this process, and report a failure in one line."""

from __future__ import annotations

import logging
import os
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from metakd_monai.errors import UserError, explain, find_cause, find_user_error, in_one_line
from metakd_monai.processes.endings import DEBUG

ENGINE_LOGGERS = (
    "ignite.engine.engine.MetaKDTrainer",
    "ignite.engine.engine.SupervisedEvaluator",
    "monai.handlers.StatsHandler",
)
BUNDLE_LOGGERS = ("monai.bundle.scripts", "monai.bundle.workflows")  # a page for each start


def run_workflow(files: Sequence[str], run_id: str, overrides: Mapping[str, Any], alone: bool) -> str | None:
    """Let MONAI run configurations.

    Args:
        files: configurations, each changing the one before.
        run_id: which expression to run.
        overrides: names and values.
        alone: nothing else runs in this process, so threads that write logs can be silenced.

    Returns:
        What went wrong, in one line; None if it finished.
    """
    from monai.bundle import run

    if not os.environ.get(DEBUG):
        for name in BUNDLE_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", "parsing config_file")  # it is said in --help
    for name in ENGINE_LOGGERS:  # they write tracebacks of the error that is reported here in one line
        logging.getLogger(name).addFilter(lambda record: record.levelno < logging.ERROR)
    if alone and not os.environ.get(DEBUG):
        threading.excepthook = lambda arguments: None
    try:
        run(run_id=run_id, config_file=list(files), logging_file=False, **overrides)
    except Exception as error:  # the configuration may raise anything
        if os.environ.get(DEBUG):
            traceback.print_exception(error)
        return tell_failure(error, overrides)
    return None


def tell_failure(error: BaseException, given: Mapping[str, Any]) -> str:
    """Return the cause of an error in one line, from within MONAI's wrappers or a data-loading process.

    For a cause that no check foresaw, the given settings are added: they are the likeliest reason.
    """
    known = find_user_error(error)
    cause = known or find_cause(error)
    line = explain(cause)
    if "Original Traceback" in str(cause):  # from another process; its last line says what it was
        line = in_one_line(str(cause).strip().splitlines()[-1], 1000)
    line = line.removeprefix(f"{UserError.__module__}.{UserError.__name__}: ")
    line = line.removeprefix("ValueError: ")  # a component's own words about an argument
    told = in_one_line(" ".join(f"--{name} {value}" for name, value in given.items() if name != "bundle_root"), 250)
    return line if known else f"training failed: {line} (given {told or 'nothing'}; {DEBUG}=1 shows where)"
