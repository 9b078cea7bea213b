"""Options of every command with values out of range, of other types, or that contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from campaign.sound import CASES
from campaign.trials import ANY, REFUSED, Inputs, Place, Plan, Prepare, shuffled, strings

NUMBERS = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "1e400",
    "abc",
    "",
    "0x10",
    "1,5",
    "٣",
    "--",
    "None",
    "1e-320",
    "99999999999999999999",
)
SIZES = (
    "0,0,0",
    "16,16",
    "16,16,16,16",
    "a,b,c",
    "-32,40,32",
    "1e2,40,32",
    "100000,100000,100000",
    "15,16,16",
    ",,",
    "nan,nan,nan",
)
NAMES = ("metakd", "t1", "x" * 3000, "../x", "", "\t", "ÜBER", "none:x=1", "components", "components:voxels=nan",
    "small_et",
         "small_et:threshold=-1", "components:share=inf", "components:share=2",
         "small_et:threshold=1e99,target=7")  # fmt: skip
DEVICES = ("meta", "privateuseone", "cuda:99", "cpu:7", "", "tpu", "mps", "xla", "vulkan", "hpu", "cpu;ls", "ipu")
MODALITIES = ("", ",", "t3", "flair;t1", "all", "flair,swi", "FLAIR t1", "t1ce" * 500, "\x00", "flaire")

Options = dict[str, Sequence[str]]
PREDICT: Options = {
    "--memory-limit": NUMBERS, "--margin": NUMBERS, "--device": DEVICES, "--modalities": MODALITIES,
        "--et-label": ("5", "1", "x"),
    "--precision": ("fp16", "bf32", ""), "--mirror": ("x", "LR2"), "--optimize": ("fast",), "--postprocessing": NAMES,
    "--jobs": NUMBERS[:6], "--engine": ("spark", ""), "--window": ("0,0,0", "x", "-1,-1,-1", "nan"), "--weights": ("",
        "nowhere.pt", "/", "."),
    "--case-id": ("x",), "--flair": ("in/c1/c1_t1.nii.gz",), "--outptu": ("x",), "--address": ("x:y",),
}  # fmt: skip
EVALUATE: Options = {"--convention": ("brats2019", ""), "--hd95": ("x",), "--jobs": NUMBERS[:6], "--overwrit": ("x",)}
DATALIST: Options = {
    "--year": ("2017", "x"), "--folds": NUMBERS, "--meta-fraction": NUMBERS, "--test-fraction": (*NUMBERS, "0.5", "1",
        "-0.1"),
    "--seed": NUMBERS, "--splits": ("nowhere", ""), "--min-modalities": ("0", "5", "x"),
}  # fmt: skip
BENCHMARK: Options = {
    "--fold": NUMBERS[3:7], "--part": ("training", ""), "--hd95": ("x",), "--convention": ("x",),
        "--compare": ("nowhere.csv", "/", "in"),
    "--compare-method": ("x",), "--postprocessing": NAMES, "--jobs": ("0", "-3"), "--device": DEVICES[:4],
        "--datalist": ("list.json",),
}  # fmt: skip
STUDY: Options = {
    "--trained-on": ("nobody", ""), "--compare": ("x", "a=nowhere.pt", "=", "a=in"), "--jobs": ("0", "-3", "x"),
    "--device": DEVICES[:4], "--cases": ("nowhere", "in", "=x"), "--weights": ("", "nowhere.pt", "/", "in"),
}  # fmt: skip
SIMULATE: Options = {
    "--cases": (*NUMBERS, "0", "-5", "1000000000000"), "--seed": (*NUMBERS, "-1"), "--shape": SIZES,
        "--spacing": (*NUMBERS, "0", "0.1", "11"),
    "--atlas": ("nowhere", "in"), "--real": ("nowhere",), "--realistick": ("x",),
}  # fmt: skip
EXPORT: Options = {
    "--format": ("keras", "", "onnx", "tensorrt", "torch-export"), "--weights": ("nowhere.pt", "", "/", "in"),
        "--bundle": ("nowhere", "in"),
}  # fmt: skip
SUBMISSION: Options = {"--year": ("2017", "2025", "x"), "--inputs": ("nowhere", ""), "--unknown": ("x",)}
HARMLESS = {
    ("--seed", "99999999999999999999"),
    ("--device", "cpu:7"),
    ("--optimize", "none"),
    ("--postprocessing", "metakd"),
}
MAYBE = {"--device", "--window", "--postprocessing", "--memory-limit", "--margin", "--spacing", "--jobs", "--seed",
    "--modalities", "--shape",
         "--meta-fraction", "--test-fraction", "--folds", "--cases", "--compare-method", "--fold", "--format",
         "--bundle", "--part"}  # fmt: skip
IMPOSSIBLE = {"nan", "-inf", "-1", "abc", "", "0x10", "1,5", "--", "None", "inf", "1e400", "100000,100000,100000"}


def command_of(name: str, place: Place) -> list[str]:
    """Return a sound command line of each command."""
    if name == "evaluate":
        place.masks()
    if name != "simulate":
        place.cohort(cases=CASES if name == "datalist" else CASES[:2])
    commands = {
        "predict": place.predict,
        "evaluate": place.evaluate,
        "datalist": place.datalist,
        "benchmark": lambda: place.benchmark("--cases", "in"),
        "study": place.study,
        "simulate": lambda: strings("simulate", "out", "--cases", 1, "--shape", "16,20,16", "--spacing", 8),
        "export": lambda: strings("export", "--weights", place.sound.weights, "-o", "out/x.ts"),
        "submission": lambda: strings("submission", "in", "--inputs", "in", "--year", "2020", "-o", "out/up"),
    }
    return commands[name]()


def values_of(name: str, options: Options) -> Inputs:
    """Yield a command with each of these options in turn."""
    for option, values in options.items():
        for value in values:
            yield f"{name} {option} {value[:30]!r}", with_option(name, option, value)


def with_option(name: str, option: str, value: str) -> Prepare:
    """Return what makes a sound command with one more option."""

    def prepare(place: Place) -> Plan:
        sure = option not in MAYBE or (value in IMPOSSIBLE and option not in ("--device", "--format", "--part"))
        expect = ANY if (option, value) in HARMLESS or not sure else REFUSED
        return Plan(
            [*command_of(name, place), option, value], expect, (option, option.strip("-"), value or option, "Error")
        )

    return prepare


def options(rng: np.random.Generator) -> Inputs:
    """Try every option of the commands for segmentation."""
    given = {
        "predict": PREDICT, "evaluate": EVALUATE, "datalist": DATALIST, "benchmark": BENCHMARK, "export": EXPORT,
        "submission": SUBMISSION, "study": STUDY,
    }  # fmt: skip
    yield from shuffled(rng, (made for name, known in given.items() for made in values_of(name, known)))


def simulations(rng: np.random.Generator) -> Inputs:
    """Try every option of simulate."""
    yield from shuffled(rng, values_of("simulate", SIMULATE))


PATHS = ("x" * 5000, "\x00", "a\x00b", "", "~", "-", "file:///tmp", "http://localhost/x.nii.gz",
    "in/../../../../../../../..x", "\udcff", "/root/none",
         "/proc/self/cmdline", "/dev/fd/0", "in/c1/c1_t1.nii.gz/x", "con:", "$HOME", "*")  # fmt: skip
COMMANDS = {
    "predict": "{p} -o out", "evaluate": "{p} in -o out/x.csv", "evaluate ": "in {p} -o out/x.csv",
    "datalist": "{p} -o out/l.json",
    "benchmark": "--cases {p} -o out", "benchmark ": "--datalist {p} -o out",
    "study": "--cases {p} -o out",
    "submission": "{p} --inputs in --year 2020 -o out/u",
    "tune-postprocessing": "--datalist {p} -o out", "adni-prepare": "{p} -o out",
    "avmnist": "--mnist {p} --fsdd {p} -o out",
    "export": "--weights {p} -o out/x.ts",
}  # fmt: skip


def paths(rng: np.random.Generator) -> Inputs:
    """Give each command paths that nothing lies at, or that no path may be."""
    made = (
        (f"{command.strip()} {form.format(p=path[:30])!r}", with_path(command.strip(), form, path))
        for command, form in COMMANDS.items()
        for path in PATHS
    )
    yield from shuffled(rng, made)


def with_path(command: str, form: str, path: str) -> Prepare:
    """Return what makes a command with this path for an input."""

    def prepare(place: Place) -> Plan:
        place.case("c1")
        arguments = [command, *(path if word == "{p}" else word for word in form.split())]
        return Plan(arguments, REFUSED if path else ANY)  # "" is the folder that one is in

    return prepare


def missing(rng: np.random.Generator) -> Inputs:
    """Leave out what is needed, give too much, ask for commands that there are not."""
    lines = ("", "predict", "predict in", "evaluate in", "evaluate in in", "datalist", "benchmark -o out", "simulate",
        "submission in", "tune-postprocessing",
             "export extra", "predicct in -o out", "predict in in -o out", "predict in -o",
             "benchmark --cases in --datalist x -o out", "--nothing",
             "predict in -o out --modalities", "-x", "evaluate -o out/x.csv", "adni-simulate", "avmnist",
             "adni-prepare in", "datalist in -o out --folds", "study", "study --cases in")  # fmt: skip
    for line in lines:
        yield f"metakd {line}", partial(with_line, line=line)


def with_line(place: Place, line: str) -> Plan:
    """Give these arguments."""
    place.case("c1")
    return Plan(line.split(), REFUSED if line else ANY)  # without any, help is shown


FAMILIES = {
    "option": (options, 90),
    "simulate option": (simulations, 40),
    "path": (paths, 60),
    "arguments": (missing, 25),
}
