"""The command line ``metakd``. Everything is checked before anything runs.

Exit status: 0 all done, 1 some cases failed, 2 unusable arguments, 3 out of memory or an internal error, 130 Ctrl-C,
143 SIGTERM. Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import logging
import os
import sys

import click

from metakd_monai import __version__
from metakd_monai.cli.adni import adni_prepare, adni_simulate
from metakd_monai.cli.avmnist import avmnist
from metakd_monai.cli.back import back
from metakd_monai.cli.base import Commands
from metakd_monai.cli.benchmark import benchmark, tune_postprocessing
from metakd_monai.cli.bundle import bundle
from metakd_monai.cli.datalist import datalist
from metakd_monai.cli.demo import demo
from metakd_monai.cli.doctor import doctor
from metakd_monai.cli.evaluate import evaluate
from metakd_monai.cli.export import export
from metakd_monai.cli.predict import predict
from metakd_monai.cli.prepare_raw import prepare
from metakd_monai.cli.report import report
from metakd_monai.cli.simulate import simulate
from metakd_monai.cli.study import study
from metakd_monai.cli.submission import submission
from metakd_monai.cli.train import train
from metakd_monai.cli.view import view
from metakd_monai.errors import UserError
from metakd_monai.processes.endings import DEBUG

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="metakd")
def main() -> None:
    """Brain-tumour segmentation that keeps working when MRI sequences are missing. Research use only."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # PyTorch asks Linux for huge pages: volumes come faster
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("metakd_monai").setLevel(logging.DEBUG if os.environ.get(DEBUG) else logging.INFO)
    check_working_folder()


def check_working_folder() -> None:
    """Raise UserError if the working folder was removed: importing PyTorch there ends the process."""
    try:
        os.getcwd()
    except OSError:
        raise UserError("working folder: it was removed; expected an existing folder") from None


SEGMENTATION = (
    demo,
    simulate,
    datalist,
    train,
    prepare,
    predict,
    report,
    view,
    back,
    export,
    evaluate,
    benchmark,
    study,
    tune_postprocessing,
    submission,
    bundle,
    doctor,
)
CLASSIFICATION = (avmnist, adni_prepare, adni_simulate)

for command in (*SEGMENTATION, *CLASSIFICATION):
    main.add_command(command)
