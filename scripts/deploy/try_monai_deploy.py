"""Use ``examples/deploy_app`` as a hospital would, from a container's layout; see ``try_monai_deploy.sh``."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import torch
from deployment_checks import ALL, LACKING, OTHERS, check, predict, read, same, stack

from metakd_monai.data.cases import Case, find_cases
from metakd_monai.transforms import labels_to_regions
from metakd_monai.vocabulary import Label, Modality, Region

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests"))

from raw_dicom import SEQUENCES, pack, write_enhanced, write_series  # noqa: E402  # found by the line above

NAME, ID = "SMITH^JOHN", "../../x"
QUIET = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber")


class Package:
    """The application below a folder that is laid out as a container is.

    Args:
        root: as ``lay_out_map.py`` made it.
    """

    def __init__(self, root: Path) -> None:
        self.manifest = json.loads((root / "etc" / "holoscan" / "app.json").read_text())
        self.output = Path(self.manifest["environment"]["HOLOSCAN_OUTPUT_PATH"])
        self.log = ""

    def run(self, source: Path, status: int = 0, patient_ids: bool = False, **environment: str) -> list[Path]:
        """Run the application on a folder by its environment alone; return the masks."""
        shutil.rmtree(self.output)
        self.output.mkdir()
        own = {**self.manifest["environment"], "HOLOSCAN_INPUT_PATH": str(source), **environment}
        config = Path(own["HOLOSCAN_CONFIG_PATH"])
        wanted = str(not patient_ids).lower()
        config.write_text(re.sub("pseudonyms: (true|false)", f"pseudonyms: {wanted}", config.read_text()))
        command = [sys.executable, *json.loads(self.manifest["command"])[1:]]
        work = self.manifest["workingDirectory"]
        done = subprocess.run(command, cwd=work, env=os.environ | own, capture_output=True, text=True, check=False)
        self.log = done.stdout + done.stderr
        check(f"app on {source.name}: exit status {done.returncode}", done.returncode == status, self.log[-3000:])
        return sorted(self.output.glob("*.nii.gz"))

    def refused(self, source: Path, words: str, **environment: str) -> None:
        """Check that the application refuses a folder in one line, and writes nothing."""
        masks = self.run(source, 1, False, **environment)
        said = [line for line in self.log.splitlines() if words in line]
        check(f"{source.name} refused: {said[-1:]}", bool(said) and not masks, self.log[-3000:])


def canonical(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """Turn a mask to the axes of BraTS."""
    target = nib.orientations.axcodes2ornt("LPS")
    turned: nib.Nifti1Image = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
    )
    return turned


def check_seg(path: Path, mask: nib.Nifti1Image, headers: list[pydicom.Dataset]) -> None:
    """Compare the voxels of a DICOM SEG with those of the NIfTI mask, and look at what it refers to."""
    seg = hd.seg.segread(path)
    volume = seg.get_volume(combine_segments=False, rescale_fractional=False)
    affine = np.diag([-1, -1, 1, 1]) @ volume.affine
    labels = torch.from_numpy(np.ascontiguousarray(mask.dataobj))[None]
    for number, (region, wanted) in enumerate(zip(Region, labels_to_regions(labels), strict=True), start=1):
        found = canonical(nib.Nifti1Image(volume.array[..., number - 1].astype(np.uint8), affine))
        same_grid = np.allclose(found.affine, mask.affine, atol=1e-3)
        differ = int((np.asarray(found.dataobj) != wanted.numpy()).sum())
        label = seg.get_segment_description(number).segment_label
        check(f"SEG segment {number} {label}: {int(wanted.sum())} voxels, {differ} differ", differ == 0 and same_grid)
        check(f"segment {number} is {region.value}", label.startswith(region.value))
    referenced = seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    series = [header for header in headers if header.SeriesInstanceUID == referenced]
    check(f"SEG is on the grid of {series[0].SeriesDescription!r}", bool(series))
    names = ("StudyInstanceUID", "FrameOfReferenceUID")
    check("SEG is of that study", all(seg[name].value == series[0][name].value for name in names))


def write_study(case: Case, folder: Path, **values: str) -> list[pydicom.Dataset]:
    """Write a case as the MR series of one study; return their headers."""
    for number, (modality, path) in enumerate(case.files.items(), start=1):  # type: ignore[union-attr]  # a folder
        image = nib.load(path)
        voxels = np.asarray(image.dataobj).clip(0).astype(np.uint16)
        write_series(folder, voxels, image.affine, str(number), **SEQUENCES[modality], **values)
    return [pydicom.dcmread(path, stop_before_pixels=True) for path in folder.iterdir()]


def use_hard_study(package: Package, case: Case, work: Path, expected: nib.Nifti1Image) -> None:
    """A study with a compressed series, a second T1 POST in thick slices, and a name that leads out of the folder."""
    headers = write_study(case, work / "hard", PatientID=ID, PatientName=NAME)
    for path in (work / "hard").glob("IM1_*"):
        pack(path, "JPEG")
    image = nib.load(case.files[Modality.T1CE])  # type: ignore[index]  # a folder
    thick, affine = np.asarray(image.dataobj)[..., ::2], image.affine @ np.diag([1, 1, 2, 1])
    second = {**SEQUENCES[Modality.T1CE], "SeriesDescription": "AX T1 POST thick", "PatientID": ID}
    write_series(work / "hard", thick.clip(0).astype(np.uint16), affine, "5", **second)
    (mask,) = package.run(work / "hard")
    same("mask from DICOM, and of metakd predict", canonical(read(mask)), expected)
    results = mask.with_name(mask.name.replace(".nii.gz", "_dicom"))
    check(f"DICOM results: {sorted(path.name for path in results.iterdir())}", len(list(results.iterdir())) == 3)
    check_seg(results / "segmentation.dcm", canonical(read(mask)), headers)
    check("the better T1 POST is taken, and said", "rather than ax t1 post thick" in package.log, package.log)
    report = json.loads(mask.with_name(mask.name.replace(".nii.gz", ".json")).read_text())
    check("and recorded", any("rather than ax t1 post thick" in note for note in report["notes"]))
    check(f"volumes in mL {report['volumes_ml']}, {len(report['warnings'])} warnings", bool(report["volumes_ml"]))
    seen = [path.name for path in package.output.rglob("*")]
    check(
        "no name or ID of the patient in logs and file names", not re.search(r"SMITH|\.\./x", f"{seen} {package.log}")
    )


def use_studies(package: Package, case: Case, work: Path) -> None:
    """Two studies of a patient in one folder, T1ce in the other one; results named by PatientID."""
    write_study(case, work / "studies" / "today", PatientID=ID)
    for path in (work / "studies" / "today").glob("IM3_*"):
        data = pydicom.dcmread(path)
        data.StudyInstanceUID, data.StudyDate = "1.2.3", "20190101"
        data.save_as(path)
    masks = package.run(work / "studies", patient_ids=True)
    used = [json.loads(Path(str(m).replace(".nii.gz", ".json")).read_text())["modalities"]["used"] for m in masks]
    check(f"two studies, each by itself: {[m.name for m in masks]} {used}", sorted(used) == [OTHERS, ["t1ce"]])
    check("nothing is written elsewhere", not list(package.output.parents[2].glob("x*")))


def use_enhanced(package: Package, case: Case, work: Path, weights: Path, expected: nib.Nifti1Image) -> None:
    """An enhanced multi-frame FLAIR in a de-identified study without T1ce, segmented by a TorchScript export."""
    folder = work / "enhanced"
    write_study(case, folder)
    for path in [*folder.glob("IM1_*"), *folder.glob("IM3_*")]:
        path.unlink()
    image = nib.load(case.files[Modality.FLAIR])  # type: ignore[index]  # a folder
    voxels = np.asarray(image.dataobj).clip(0).astype(np.uint16)
    write_enhanced(folder / "enhanced.dcm", voxels, image.affine, **SEQUENCES[Modality.FLAIR])
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        for name in QUIET:
            data.pop(name, None)
        data.save_as(path)
    (mask,) = package.run(folder, HOLOSCAN_MODEL_PATH=str(weights))
    same("enhanced, de-identified, without T1ce, TorchScript", canonical(read(mask)), expected)
    check("DICOM results", len(list(package.output.glob("*_dicom/*.dcm"))) == 3)


def as_bundle(mask: nib.Nifti1Image) -> nib.Nifti1Image:
    """Return a mask with the value that the bundle gives to enhancing tumour."""
    labels = np.asarray(mask.dataobj)
    return nib.Nifti1Image(np.where(labels == Label.ET, Label.ET_2023, labels).astype(np.uint8), mask.affine)


def use(work: Path, bundle: Path, script: Path) -> None:
    """Do all that a user does."""
    case = find_cases(work / "nifti")[0]
    package, weights = Package(work / "map"), bundle / "models" / "model.pt"
    complete = predict(work / "nifti", work / "expected", weights, ALL, Label.ET)
    incomplete = predict(work / "nifti", work / "expected_three", weights, OTHERS, Label.ET)
    by_script = predict(work / "nifti", work / "expected_script", script, OTHERS, Label.ET)
    use_hard_study(package, case, work, canonical(complete))
    use_studies(package, case, work)
    use_enhanced(package, case, work, script, canonical(by_script))
    image = stack(case)
    voxels = np.asarray(image.dataobj).copy()
    for name, content in {"three_channels": voxels[..., :3], "zeroed": voxels}.items():
        (work / name).mkdir()
        voxels[..., ALL.index(LACKING.value)] = 0
        nib.save(nib.Nifti1Image(content, image.affine), work / name / f"{case.case_id}.nii.gz")
    (mask,) = package.run(work / "zeroed")
    same("4-D NIfTI with T1ce zeroed", read(mask), incomplete)
    package.refused(work / "three_channels", "expected a 4-D file with 4 channels")
    (work / "nothing").mkdir()
    package.refused(work / "nothing", "no modality found")
    for model in (bundle, script):
        wanted = as_bundle(incomplete if model is bundle else by_script)
        command = [sys.executable, Path(__file__).with_name("bundle_operator.py"), work / "zeroed" / mask.name, model]
        subprocess.run([*map(str, command), str(work / "mask.nii.gz")], check=True, capture_output=True)
        same(f"the SDK's own bundle operator with {model.name}", read(work / "mask.nii.gz"), wanted)
    if "DEPLOY_RAW" in os.environ:
        use_raw(package, find_cases(Path(os.environ["DEPLOY_RAW"]))[0], work)


def use_raw(package: Package, case: Case, work: Path) -> None:
    """Series with skull, each on its own grid: refused without a template, prepared with one."""
    write_study(case, work / "raw")
    package.refused(work / "raw", "expected the SRI24 T1 image", METAKD_TEMPLATE="")
    (mask,) = package.run(work / "raw", METAKD_TEMPLATE=os.environ["METAKD_TEMPLATE"])
    for line in re.findall(r"study_\w+: .*", package.log):
        print(f"     {line}")
    written = sorted(path.name for path in package.output.glob("*_native/*_*.nii.gz"))
    check(f"masks on the raw grids: {written}", len(written) == len(case.as_item()["image"]) and mask.is_file())
    check("DICOM results", len(list(package.output.glob("*_dicom/*.dcm"))) == 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="has nifti/, a case without skull, and map/, a container's layout")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--script", type=Path, required=True, help="the bundle's TorchScript export")
    arguments = parser.parse_args()
    use(arguments.work.absolute(), arguments.bundle, arguments.script)
