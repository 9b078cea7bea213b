"""Use ``examples/deploy_app`` as a hospital would; see ``try_monai_deploy.sh``, which sets up its environment."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import torch
from deployment_checks import ALL, LACKING, OTHERS, check, predict, read, same, stack

from metakd_monai.data.cases import Case, find_cases
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import Region

ROOT = Path(__file__).resolve().parents[2]


def run_app(source: Path, output: Path, model: Path, status: int = 0) -> str:
    """Run the application as a user does; return what it says on stderr in its last line."""
    shutil.rmtree(output, ignore_errors=True)
    command = [
        sys.executable,
        ROOT / "examples" / "deploy_app",
        "--input",
        source,
        "--output",
        output,
        "--model",
        model,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    lines = done.stderr.strip().splitlines()
    check(
        f"app on {source.name} with {model.name}: exit status {done.returncode}", done.returncode == status, lines[-20:]
    )
    return lines[-1] if lines else ""


def only(folder: Path, ending: str) -> Path:
    """Return the one file of a kind in a folder."""
    found = list(folder.glob(f"*{ending}"))
    check(f"one {ending} written: {[path.name for path in found]}", len(found) == 1)
    return found[0]


def canonical(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Turn a mask to the axes of BraTS; a DICOM series has its own."""
    target = nib.orientations.axcodes2ornt("LPS")
    turned: nib.Nifti1Image = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
    )
    return turned


def check_seg(path: Path, mask: nib.Nifti1Image, sources: Path) -> None:
    """Compare the voxels of a DICOM SEG with those of the NIfTI mask, and look at what it refers to."""
    seg = hd.seg.segread(path)
    volume = seg.get_volume(combine_segments=False, rescale_fractional=False)
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine
    labels = torch.from_numpy(np.ascontiguousarray(mask.dataobj))[None]
    for number, (region, wanted) in enumerate(zip(Region, labels_to_regions(labels), strict=True), start=1):
        found = canonical(nib.Nifti1Image(volume.array[..., number - 1].astype(np.uint8), affine))
        same_grid = np.allclose(found.affine, mask.affine, atol=1e-4)
        differ = int((np.asarray(found.dataobj) != wanted.numpy()).sum())
        description = seg.get_segment_description(number)
        what = f"SEG segment {number} {description.segment_label}: {description.segmented_property_type.meaning}"
        check(f"{what}, {int(wanted.sum())} voxels, {differ} differ from the NIfTI mask", differ == 0 and same_grid)
        check(f"segment {number} is {region.value}", description.segment_label.startswith(region.value))
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in sorted(sources.rglob("*.dcm"))]
    referenced = seg.ReferencedSeriesSequence[0]
    instances = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
    series = [header for header in headers if header.SeriesInstanceUID == referenced.SeriesInstanceUID]
    complete = instances == {header.SOPInstanceUID for header in series}
    check(f"SEG refers to all {len(instances)} instances of {series[0].SeriesDescription!r}", complete and bool(series))
    first = headers[0]
    same_place = all(
        seg[name].value == first[name].value for name in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID")
    )
    check("SEG is of the patient, study and frame of reference of its source", same_place)


def prepare(work: Path) -> Case:
    """Lay out what is handed over, good and bad, from the NIfTI files of a case."""
    case = find_cases(work / "nifti")[0]
    image = stack(case)
    voxels = np.asarray(image.dataobj)
    zeroed = voxels.copy()
    zeroed[..., ALL.index(LACKING.value)] = 0
    for name, content in {"zeroed": zeroed, "three_channels": voxels[..., :3], "empty": np.zeros_like(voxels)}.items():
        (work / name).mkdir()
        nib.save(nib.Nifti1Image(content, image.affine), work / name / f"{case.case_id}.nii.gz")
    shutil.copytree(work / "dicom", work / "dicom_three")
    shutil.rmtree(next((work / "dicom_three").glob(f"*_{LACKING.value}")))
    coarse(case, work / "coarse", shift=0)
    coarse(case, work / "shifted", shift=40)
    (work / "nothing").mkdir()
    return case


def coarse(case: Case, folder: Path, shift: float) -> None:
    """Write a case whose T2 has slices of twice the thickness, and lies some mm aside."""
    folder.mkdir()
    for modality, path in case.files.items():  # type: ignore[union-attr]  # the case is a folder
        image = nib.load(path)
        if modality.value == "t2":
            thick = np.asarray(image.dataobj)
            thick = (thick[..., 0::2] + thick[..., 1::2]) / 2
            affine = image.affine @ np.diag([1, 1, 2, 1])
            affine[:3, 3] += image.affine[:3, 2] / 2 + [shift, 0, 0]
            image = nib.Nifti1Image(thick.astype(np.float32), affine)
        nib.save(image, folder / path.name)


def use(work: Path, bundle: Path, script: Path) -> None:
    """Do all that a user does."""
    case, out = prepare(work), work / "out"
    weights = bundle / "models" / "model.pt"

    for model, file in (
        (script, script),
        (bundle, weights),
    ):  # each as metakd predict has it: a script rounds otherwise
        complete = predict(work / "nifti", work / "expected", file, ALL)
        incomplete = predict(work / "nifti", work / "expected_three", file, OTHERS)
        run_app(work / "dicom", out, model)
        mask = canonical(read(only(out, ".nii.gz")))
        same(f"mask from DICOM, {model.name}, and of metakd predict", mask, complete)
        check_seg(only(out, ".dcm"), mask, work / "dicom")
        run_app(work / "zeroed", out, model)
        same(f"4-D NIfTI with T1ce zeroed, {model.name}", read(only(out, ".nii.gz")), incomplete)
    run_app(work / "dicom_three", out, bundle)
    same("three DICOM series", canonical(read(only(out, ".nii.gz"))), incomplete)
    run_app(work / "nifti", out, bundle)
    same("four NIfTI files", read(only(out, ".nii.gz")), complete)
    run_app(work / "coarse", out, bundle)
    mask = read(only(out, ".nii.gz"))
    agree = float((np.asarray(mask.dataobj) == np.asarray(complete.dataobj)).mean())
    on_grid = mask.shape == complete.shape and np.allclose(mask.affine, complete.affine)
    check(f"T2 of 2 mm slices brought to the grid of 1 mm: {agree:.0%} of the labels as with its own", on_grid)

    two = shutil.copytree(work / "dicom", work / "two_patients")
    make_series(case, two / "other", patient="SOMEONE-ELSE")
    for source, expected in {
        "two_patients": "2 patients found",
        "three_channels": "expected a 4-D file with 4 channels",
        "empty": "no modality left",
        "shifted": "register the sequences to each other first",
        "nothing": "expected the sequences of one patient",
    }.items():
        line = run_app(work / source, out, bundle, status=1)
        check(f"{source} refused: {line}", line.startswith("deploy_app: ") and expected in line)
        check("nothing written", not list(out.glob("*.*")))


def make_series(case: Any, output: Path, patient: str) -> None:
    """Write a case as the series of another patient."""
    folder = next(iter(case.files.values())).parent
    script = ROOT / "scripts" / "deploy" / "make_dicom_series.py"
    subprocess.run([sys.executable, script, folder, output, "--patient", patient], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="has nifti/ and dicom/, the same case")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--script", type=Path, required=True, help="the bundle's TorchScript export")
    arguments = parser.parse_args()
    use(arguments.work, arguments.bundle, arguments.script)
