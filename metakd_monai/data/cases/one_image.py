"""Find the case of one image: its sequence, and the files beside it with the other sequences."""

from __future__ import annotations

from pathlib import Path

from metakd_monai.data.cases.case_folders import nifti_names
from metakd_monai.data.cases.groups import group_names
from metakd_monai.data.cases.label_names import is_label
from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, read_sequence, recognise
from metakd_monai.data.cases.shared import clean
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import MODALITY_NAMES, Modality


def files_of_image(path: Path, sequence: Modality | None = None, siblings: bool = True) -> dict[Modality, Path]:
    """Map the sequences of a case to files: to one given image, and to the files beside it.

    Siblings are files whose names begin like the image's, up to the words on the sequence: the folder may hold images
    of other patients too. An image whose name gives no sequence has no siblings.

    Args:
        path: of a 3-D image.
        sequence: its sequence, which takes precedence over the name; None to read the name.
        siblings: whether to look for them.

    Raises:
        UserError: if its sequence is unknown, or it is not clear which files are its siblings.
    """
    found = sequence or read(path)
    beside = find_siblings(path) if siblings else {}
    files = {**beside, found: path}
    return {modality: files[modality] for modality in Modality if modality in files}


def find_siblings(path: Path) -> dict[Modality, Path]:
    """Return the other sequences of an image's case that lie beside it; none for a copy, such as ``A_flair_bias``."""
    beginning = begin(path.name)
    groups = group_names([name for name in nifti_names(path.parent) if begin(name) == beginning])
    problem = next((group.problem for group in groups if group.problem), None)
    if problem is not None:
        raise UserError(f"{path.parent}: {problem}; or the image without its siblings")
    chosen = next((group.files for group in groups if path.name in group.files.values()), {})
    return {modality: path.parent / name for modality, name in chosen.items() if name != path.name}


def begin(name: str) -> str:
    """Return the case's part of a file name, before the words on the sequence."""
    stem = NIFTI.sub("", name)
    return clean(stem[: read_sequence(stem).start])


def read(path: Path) -> Modality:
    """Return the sequence given by an image's own name; raises UserError if it gives none or several."""
    named = None if is_label(path.name) else recognise(path.name)
    if isinstance(named, Modality):
        return named
    said = f"may be {named} by its name" if isinstance(named, Ambiguous) else "its name tells no sequence"
    raise UserError(
        f"{path}: one 3-D image, {said}; expected a choice of sequence ({', '.join(MODALITY_NAMES)}), a name such as"
        f" <case>_flair.nii.gz, or a 4-D file with {len(Modality)} channels"
    )
