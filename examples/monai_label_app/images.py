"""From an image of MONAI Label's datastore to the examination that it belongs to, prepared where it has to be."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from siblings import choose_siblings

from metakd_monai.apps.examination import Examination, plan_preparation, prepare_examination
from metakd_monai.apps.raw.raw_cases import RawCase, common_start, from_files
from metakd_monai.data.cases import Case, safe_case_id
from metakd_monai.data.cases.sequences import NIFTI
from metakd_monai.errors import UserError
from metakd_monai.transforms.images import SEQUENCE, SIBLINGS, files_of, told_sequence
from metakd_monai.vocabulary import Modality

logger = logging.getLogger(__name__)


class Images:
    """The images of a datastore, each with its case. What is prepared is kept for as long as the server lives.

    Args:
        datastore: of files, or of a DICOMweb server, whose images are series.
    """

    def __init__(self, datastore: Any) -> None:
        self.datastore = datastore
        self.client = getattr(datastore, "_client", None)  # of DICOMweb
        self.folder = tempfile.TemporaryDirectory(prefix="metakd_label_")
        self.preparing = threading.Lock()  # requests come in threads

    def examine(self, raw: RawCase) -> Examination:
        """Return a case that a network can segment: as it is where it is ready, else prepared as ``--raw`` does.

        Raises:
            UserError: where it cannot be prepared.
        """
        with self.preparing:
            return prepare_examination(raw, Path(self.folder.name), partial(plan_preparation, overwrite=True))

    def case_of(self, request: dict[str, Any]) -> RawCase:
        """Return the case of a request's image.

        Args:
            request: ``image``, a file, a folder or a list of files; and what the user chose, if anything: ``sequence``,
                which the image is, and ``siblings``, whether the others of its case are taken along.

        Raises:
            UserError: where nobody says which sequence an image is.
        """
        image, told = request["image"], told_sequence(request.get(SEQUENCE))
        siblings = bool(request.get(SIBLINGS, True))
        if not isinstance(image, str):
            return name_case(files_of(image))
        path = Path(image)
        folder = path.with_name(NIFTI.sub("", path.name))
        if self.client is not None and folder.is_dir():  # where the datastore keeps the series' DICOM files
            chosen = choose_siblings(path, folder, told, self.fetch_others(folder.name) if siblings else {})
            return name_case(chosen.files, chosen.notes)
        return name_case(files_of(path, told, siblings))

    def labelled_files(self) -> set[Path]:
        """Return all files of cases of which an image is labelled; none of a DICOMweb server's: it fetches no study."""
        files: set[Path] = set()
        for image in [] if self.client is not None else self.datastore.get_labeled_images():
            try:
                found = self.case_of({"image": self.datastore.get_image_uri(image)})
            except UserError:
                continue
            files.update([found.stacked] if found.stacked else found.series.values())
        return files

    def fetch(self, image: str) -> Path:
        """Return an image's file; MONAI Label names a temporary one when it fetches a series, its own from then on."""
        self.datastore.get_image_uri(image)
        return Path(self.datastore.get_image_uri(image))

    def fetch_others(self, uid: str) -> dict[Path, Path]:
        """Fetch the other MR series of a series' study; return the image of each by the folder of its DICOM files."""
        study = self.datastore.get_image_info(uid)["StudyInstanceUID"]
        found = self.client.search_for_series(study_instance_uid=study, search_filters={"Modality": "MR"})
        fetched = {}
        for other in sorted(str(series["0020000E"]["Value"][0]) for series in found):
            if other == uid:
                continue
            try:
                image = self.fetch(other)
            except RuntimeError as error:  # ITK's, of what is no volume
                logger.warning("series %s: skipped, not a volume (%s)", other, str(error).strip().splitlines()[-1])
                continue
            fetched[image.with_name(NIFTI.sub("", image.name))] = image
        return fetched


def name_case(files: Mapping[Modality, Path] | Path, notes: tuple[str, ...] = ()) -> RawCase:
    """Return a case, named by what its files' names begin with, or by the first of them.

    Where they begin in several ways, a brain mask beside them may be another patient's, and is not taken.
    """
    if isinstance(files, Path):
        return from_files(Case(safe_case_id(NIFTI.sub("", files.name)), files, notes=notes))
    start = common_start(files).strip(" -_.")
    if start:
        return from_files(Case(safe_case_id(start), files, notes=notes))
    return RawCase(safe_case_id(NIFTI.sub("", next(iter(files.values())).name)), files, notes=notes)
