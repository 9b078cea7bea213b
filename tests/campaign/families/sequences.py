"""File names that spell a sequence: contrast in every word order, what is registered to what, derived maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from campaign.sound import SEQUENCES
from campaign.trials import EITHER, RIGHT, Inputs, Place, Plan, Prepare, save

USUAL: Mapping[str, Sequence[str]] = {
    "t1ce": ("T1ce", "t1c", "T1Gd", "T1_Gd", "T1-post", "CT1", "T1w_ce", "ce_T1", "T1_CE", "ce-gadolinium_T1w", "T1C",
        "t1wce"),
    "t1": ("T1", "t1n", "T1w", "t1_native", "T1_pre", "T1-pre-contrast"),
    "t2": ("T2", "t2w", "T2W", "t2_tse"),
    "flair": ("FLAIR", "t2f", "T2-FLAIR", "t2_flair", "Flair_3D", "T2_tirm_dark-fluid", "FLAIR_tra"),
}  # fmt: skip
CONTRAST = (
    "Gd",
    "gad",
    "gado",
    "post",
    "CE",
    "contrast",
    "km",
    "postGd",
    "Gadolinium",
    "enhanced",
    "+C",
    "wContrast",
    "POST_CONTRAST",
)
WEIGHTING = ("T1", "T1w", "t1", "T1-weighted", "MPRAGE_T1", "T1_mprage", "3D_T1", "ax_T1", "T1_SPGR", "T1_tse_tra")
RELATIONS = ("{x}_to_{y}", "{x}_reg_{y}", "{x}_in_{y}_space", "{x}_registered_to_{y}", "r_{x}_{y}", "{x}2{y}",
    "{x}_on_{y}",
             "{x}-coreg-{y}", "space-{y}_{x}", "{x}To{y}", "{x}_aligned_to_{y}", "{x}_reg2{y}")  # fmt: skip
CERTAIN = 4  # of the relations that must be understood
DERIVED = (
    "bias",
    "unstripped",
    "brain",
    "mask",
    "N4",
    "resampled",
    "bet",
    "norm",
    "old",
    "orig",
    "warped",
    "copy",
    "brain_mask",
    "seg",
)
OTHERS = ("SWI", "DWI", "ADC", "T2star", "T2starw", "T1map", "T1rho", "T2map", "ASL", "DTI_FA", "PERF", "DSC", "PD",
    "dwi_b1000",
          "T2_star", "FA", "MD", "CBV", "T1_map", "bold")  # fmt: skip
SPELLED = {"flair": "FLAIR", "t1": "T1", "t1ce": "T1ce", "t2": "T2"}


def usual(rng: np.random.Generator) -> Inputs:
    """Spell each sequence as data sets do, alone and beside the others."""
    for truth, spellings in USUAL.items():
        for spelling in spellings:
            for beside in ((), tuple(name for name in SEQUENCES if name != truth)):
                yield f"{spelling} {'beside others' if beside else 'alone'}", spelled(truth, spelling, beside, RIGHT)


def contrasts(rng: np.random.Generator) -> Inputs:
    """Spell T1 with contrast in any order, with any separator and case: t1ce, or doubtful, but never T1."""
    while True:
        words = [str(rng.choice(WEIGHTING)), str(rng.choice(CONTRAST))]
        if rng.random() < 0.3:
            words.append(str(rng.choice(["3D", "AX", "SAG", "TRA", "1mm", "fs", "iso", "V2"])))
        spelling = str(rng.choice(["_", "-", ".", " "])).join(rng.permutation(words))
        spelling = str(rng.choice([spelling, spelling.lower(), spelling.upper()]))
        beside = tuple(name for name in ("flair", "t1", "t2") if rng.random() < 0.5) or ("flair",)
        yield f"{spelling} beside {', '.join(beside)}", spelled("t1ce", spelling, beside, EITHER)


def registered(rng: np.random.Generator) -> Inputs:
    """Name a sequence after what it was registered to."""
    while True:
        for number, relation in enumerate(RELATIONS):
            x, y = rng.choice(SEQUENCES, 2, replace=False)
            name = relation.format(x=SPELLED[x], y=SPELLED[y])
            name = name.lower() if number >= CERTAIN and rng.random() < 0.4 else name
            yield name, spelled(str(x), name, (), RIGHT if number < CERTAIN else EITHER)


def time_points(rng: np.random.Generator) -> Inputs:
    """Put a time point or a run where a sequence is looked for."""
    for number in range(40):
        x, time = str(rng.choice(SEQUENCES)), int(rng.integers(1, 3))
        form = ("{x}_t{t}", "t{t}_{x}", "{x}_tp{t}", "{x}_run-{t}", "ses-{t}_{x}", "T{t}_{x}_visit")[number % 6]
        name = form.format(x=SPELLED[x], t=time)
        yield name, spelled(x, name, (), EITHER)


def spelled(truth: str, spelling: str, beside: Sequence[str], expect: str) -> Prepare:
    """Return what makes a case with one sequence so named, others named plainly beside it."""

    def prepare(place: Place) -> Plan:
        folder = place.case("P01", sequences=())
        for name in beside:
            (folder / f"P01_{SPELLED[name]}.nii.gz").write_bytes(place.sound.file("c1", name).read_bytes())
        path = folder / f"P01_{spelling}.nii.gz"
        path.write_bytes(place.sound.file("c1", truth).read_bytes())
        passed = (spelling, place.sound.mask("c1", beside)) if beside else None
        same = {"out/*.nii.gz": place.sound.mask("c1", [*beside, truth])}
        return Plan(place.predict(), expect, (path.name, "P01", "metakd: in: "), same=same, passed=passed)

    return prepare


def derived(rng: np.random.Generator) -> Inputs:
    """Lay what was made of a sequence beside it: the original counts, or the case is refused."""
    for word in DERIVED:
        for form in ("P01_{s}_{w}", "P01_{w}_{s}"):
            s = str(rng.choice(SEQUENCES))
            yield (
                f"{form.format(s=SPELLED[s], w=word)} beside all four",
                neighbour(form.format(s=SPELLED[s], w=word), EITHER),
            )


def others(rng: np.random.Generator) -> Inputs:
    """Lay maps beside the four sequences that are none of them: the same mask."""
    for word in OTHERS:
        yield f"{word} beside all four", neighbour(f"P01_{word}", RIGHT)


def neighbour(name: str, expect: str) -> Prepare:
    """Return what makes a case of four sequences and one more file, of noise."""

    def prepare(place: Place) -> Plan:
        folder = place.case("P01", sequences=())
        for sequence in SEQUENCES:
            (folder / f"P01_{SPELLED[sequence]}.nii.gz").write_bytes(place.sound.file("c1", sequence).read_bytes())
        noise = place.rng.integers(0, 900, place.sound.voxels("c1", "t1").shape).astype(np.int16)
        save(folder / f"{name}.nii.gz", noise, place.sound.affine)
        return Plan(place.predict(), expect, ("P01",), same={"out/*.nii.gz": place.sound.mask("c1")})

    return prepare


def layouts(rng: np.random.Generator) -> Inputs:
    """Lay out cohorts as people do; every case is done, or a line says which is not."""
    forms = {
        "same names in each folder": "{p}/{s}.nii.gz",
        "same prefix in each folder": "{p}/brain_{s}.nii.gz",
        "a folder anat in each": "{p}/anat/{s}.nii.gz",
        "a session in each": "{p}/ses-1/anat/{s}.nii.gz",
        "all in one folder": "{p}_{s}.nii.gz",
        "BIDS": "sub-{p}/anat/sub-{p}_{s}.nii.gz",
        "words of labels in names": "{p}_label/{p}_label_{s}.nii.gz",
        "a word of a sequence in names": "t1_{p}/t1_{p}_{s}.nii.gz",
    }
    for recipe, form in forms.items():
        patients = [f"{letter}{rng.integers(100)}" for letter in ("P", "Q")]

        def prepare(place: Place, form: str = form, patients: Sequence[str] = tuple(patients)) -> Plan:
            for patient, case in zip(patients, ("c1", "c2"), strict=True):
                for s in ("flair", "t1ce", "t2"):
                    path = place.work / "in" / form.format(p=patient, s=s)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(place.sound.file(case, s).read_bytes())
            masks = [place.sound.mask(case, ["flair", "t1ce", "t2"]) for case in ("c1", "c2")]
            same = {f"out/*{patient}*.nii.gz": mask for patient, mask in zip(patients, masks, strict=True)}
            return Plan(place.predict(), RIGHT, same=same)

        yield recipe, prepare


FAMILIES = {
    "sequence, usual": (usual, 70),
    "sequence, contrast": (contrasts, 60),
    "sequence, registered": (registered, 36),
    "sequence, time point": (time_points, 18),
    "sequence, derived": (derived, 28),
    "sequence, other maps": (others, 20),
    "cohort layout": (layouts, 8),
}
