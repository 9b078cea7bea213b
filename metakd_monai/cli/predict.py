"""``metakd predict``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from metakd_monai.cli.base import (
    OWN_PROCESS,
    Size,
    choice_option,
    choose_device,
    mirror_option,
    names_option,
    print_notes,
    window_option,
)
from metakd_monai.cli.many_cases import cohort_options, read_engine
from metakd_monai.cli.prepare_raw import raw_options
from metakd_monai.cli.raw_predict import check_raw_options, prepare_input
from metakd_monai.cli.report import report_folder
from metakd_monai.errors import UserError
from metakd_monai.processes.startup import NEEDLESS_TO_PREDICT, lean_imports
from metakd_monai.vocabulary import ET_LABELS, MODALITY_NAMES, Modality, parse_modalities

# Repeated here: the modules that define them import PyTorch, and --help has to be fast.
PRECISIONS = ("auto", "fp32", "bf16")
OPTIMIZATIONS = ("auto", "none", "compile")
COMPUTE = ("precision", "memory_limit", "margin", "mirror", "window")
PASSED_ON = ("optimize", "postprocessing")


def file_option(modality: Modality) -> Any:
    """Make the option that names one sequence's file."""
    kind = click.Path(path_type=Path)
    return click.option(
        f"--{modality.value}", type=kind, metavar="FILE", help=f"The {modality.value} file of one case."
    )


@click.command()
@click.argument("source", metavar="[INPUT]", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, file_okay=False), help="Result folder.")
@click.option("--modalities", help=f"Use only these of  {','.join(MODALITY_NAMES)}; default: all.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Weights (model.pt), or an export of them (.ts, .onnx); default the bundle's models/model.pt"
    " (docs/results/model_card.md). TorchScript (.ts) is a program: run it only if you trust its source.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
@choice_option(
    "--et-label",
    ["auto", *map(str, ET_LABELS)],
    "auto",
    "Label of enhancing tumour; auto: 3 for names as of BraTS 2023 (BraTS-GLI-...), else 4.",
)
@click.option("--save-probabilities", is_flag=True, help="Also write ET, TC and WT probabilities (4-D NIfTI).")
@click.option("--save-uncertainty", is_flag=True, help="Also write a map of uncertainty in bits, 0 to 1 (NIfTI).")
@click.option(
    "--all-subsets",
    is_flag=True,
    help="Also write the mask that each subset of the sequences gives, and its Dice with that of all, into"
    " OUTPUT/CASE_subsets.",
)
@click.option("--no-preview", is_flag=True, help="Write no PNG.")
@click.option("--report", is_flag=True, help="Write a page with a viewer for each case (metakd report).")
@click.option("--overwrite", is_flag=True, help="Replace results made with other settings.")
@choice_option(
    "--precision",
    PRECISIONS,
    "auto",
    "Precision of the network. auto: bf16 where the device has it in hardware, else fp32.",
)
@click.option(
    "--memory-limit",
    type=Size(least=0.6),  # a process with PyTorch and MONAI
    default=3.0,
    show_default=True,
    metavar="GIB",
    help="Memory of the process on a CPU. If it does not suffice, smaller windows are used, with a warning.",
)
@window_option
@click.option(
    "--margin", type=click.IntRange(min=0), default=4, show_default=True, help="Voxels kept around the brain's box."
)
@mirror_option
@choice_option(
    "--optimize",
    OPTIMIZATIONS,
    "auto",
    "auto: channels-last kernels; compile: torch.compile too, worth the minute it takes for many cases on a GPU.",
)
@click.option(
    "--postprocessing",
    default="auto",
    show_default=True,
    help="Rule for the mask. auto: that of the weights (expected.json beside them), or none;"
    " components:voxels=50,share=0.1 drops connected tumours that are smaller, or a smaller share of the largest;"
    " small_et:threshold=500,target=1, as metakd tune-postprocessing finds it; metakd.",
)
@cohort_options
@file_option(Modality.FLAIR)
@file_option(Modality.T1)
@file_option(Modality.T1CE)
@file_option(Modality.T2)
@click.option("--case-id", help="Name of the case when its files are given one by one.")
@names_option()
@click.option(
    "--raw",
    is_flag=True,
    help="INPUT holds scanner images with skull, NIfTI or DICOM (docs/how-to/raw-scans.md).",
)
@raw_options
@click.option(
    "--dicom",
    is_flag=True,
    help="With --raw of DICOM series, also write a segmentation, a report and the picture as DICOM, OUTPUT/CASE_dicom.",
)
@click.pass_context
def predict(ctx: click.Context, source: Path | None, case_id: str | None, **options: Any) -> None:
    """Segment INPUT: a case folder, a folder of case folders, or one 4-D NIfTI file (FLAIR, T1, T1ce, T2).

    Or give the files of one case with --flair, --t1, --t1ce, --t2; any of them may be left out. With --raw, INPUT is
    a patient's folder or a folder of patients, and the masks are also written onto every raw series' own grid.
    """
    check_raw_options(options)
    files = {m: options[m.value] for m in Modality if options[m.value] is not None}
    modalities = parse_modalities(options["modalities"])
    own = ctx.find_root().obj == OWN_PROCESS
    examinations: list[Any] = []
    unprepared = 0
    if options["raw"]:
        examinations, unprepared = prepare_input(source, options)
        cases = [examination.case for examination in examinations]
    else:
        with lean_imports(own, NEEDLESS_TO_PREDICT):
            cases = choose_cases(source, files, case_id, options["names"])
        print_notes(cases)
        if own:
            begin_reading(cases, modalities, options)
    failed = segment(cases, modalities, options, own_process=own) if cases else []
    if options["raw"]:
        from metakd_monai.apps.examination import finish_examinations

        done = [examination for examination in examinations if examination.case.case_id not in failed]
        failed += finish_examinations(done, options["output"], options["dicom"])
    number = len(cases) - len(failed)
    click.echo(f"{number} of {len(cases) + unprepared} cases done; results in {options['output']}")
    all_done = not (failed or unprepared)
    if options["report"] and number:
        all_done &= report_folder(options["output"], options["jobs"] or 1)
    ctx.exit(0 if all_done else 1)


def choose_cases(
    source: Path | None, files: dict[Modality, Path], case_id: str | None, names: Path | None
) -> list[Any]:
    """Return the cases that the arguments name; raises UserError when they contradict each other or name none."""
    from metakd_monai.data.cases import Case, check_case_id, find_cases, name_files, read_name_table

    if (source is None) == (not files):
        found = "both INPUT and" if files else "neither INPUT nor"
        raise UserError(f"{found} files by modality (--flair and so on) given; expected one of the two")
    if source is not None:
        if case_id is not None:
            raise UserError("--case-id goes with files by modality (--flair and so on); INPUT names its cases itself")
        return find_cases(source, None if names is None else read_name_table(names))
    if names is not None:
        raise UserError("--names goes with INPUT; --flair and so on already name the files")
    absent = [path for path in files.values() if not path.is_file()]
    if absent:
        raise UserError(f"{absent[0]}: no such file")
    name = name_files(list(files.values())) if case_id is None else case_id
    return [Case(check_case_id(name, "--case-id"), files)]


def begin_reading(cases: Sequence[Any], modalities: Collection[Modality], options: Mapping[str, Any]) -> None:
    """Read the first case while PyTorch and MONAI are imported, where this process will segment it."""
    from metakd_monai.data.nifti import read_ahead

    alone = options["engine"] == "local" and (len(cases) == 1 or options["jobs"] in (None, 1))
    if cases and alone and (options["overwrite"] or not (options["output"] / f"{cases[0].case_id}.nii.gz").exists()):
        read_ahead(cases[0].files, modalities)


def segment(
    cases: Sequence[Any], modalities: Sequence[Modality] | None, options: Mapping[str, Any], own_process: bool
) -> list[str]:
    """Segment cases as the options ask; return the names of those that failed.

    Raises:
        UserError: for weights, a device, a folder or an engine that cannot be used.
    """
    from functools import partial

    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    with lean_imports(own_process, NEEDLESS_TO_PREDICT):
        from metakd_monai.apps.cohort import predict_cases
    from metakd_monai.apps.predict.predictor import Compute, Predictor
    from metakd_monai.weights.locate import find_weights

    engine = read_engine(options)
    weights = find_weights(options["weights"]).absolute()
    device = "cpu" if engine.name == "ray" else choose_device(options["device"])  # Ray chooses where it is used
    outputs = choose_outputs(options, weights)
    et_label = None if options["et_label"] == "auto" else int(options["et_label"])
    compute = Compute(**{name: options[name] for name in COMPUTE})
    arguments = {"modalities": modalities, "et_label": et_label, **{name: options[name] for name in PASSED_ON}}
    make = partial(Predictor, weights, device=device, compute=compute, **arguments)
    progress = partial(tqdm, total=len(cases), desc="segmenting", unit="case", disable=None)
    with logging_redirect_tqdm():
        return predict_cases(make, cases, outputs, engine, progress)


def choose_outputs(options: Mapping[str, Any], weights: Path) -> Any:
    """Return what is written and where; raises UserError for a folder that cannot be, or maps that weights lack."""
    from metakd_monai.apps.predict.outputs import Outputs
    from metakd_monai.data.files import check_writable
    from metakd_monai.weights.exports import check_shareable

    check_writable(options["output"])
    if options["save_uncertainty"] or options["all_subsets"]:
        check_shareable(weights)
    return Outputs(
        options["output"],
        preview=not options["no_preview"],
        probabilities=options["save_probabilities"],
        overwrite=options["overwrite"],
        uncertainty=options["save_uncertainty"],
        subsets=options["all_subsets"],
    )
