"""A DICOMweb server as a datastore, labels and their names included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import HTTPException
from labels import lay_on_image
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom import Dataset
from segments import KINDS, describe_segments, names_of_segments, newest_labels, present_values

FINAL = DefaultLabelTag.FINAL


class Archive(DICOMWebDatastore):
    """MONAI Label's datastore, whose labels go to the PACS, and come back, with the names that they have.

    An image is labelled where a segmentation refers to it that has no segments but those of the bundle.
    """

    seen: dict[str, Dataset]  # headers of segmentations, which do not change

    @classmethod
    def of(cls, datastore: DICOMWebDatastore) -> Archive:
        """Return a datastore that MONAI Label has made as one of this class."""
        datastore.__class__, datastore.seen = cls, {}
        return datastore

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any], label_id: str = ""
    ) -> str:
        """Keep a label map, and store it in the PACS as DICOM Segmentation if it is final; return its id."""
        values = present_values(Path(label_filename))
        if label_tag == FINAL and not values:
            raise HTTPException(status_code=422, detail=f"{image_id}: an empty label map found; expected segments")
        told = label_info.get("label_info") or []
        asked = {**label_info, "label_info": describe_segments(values, told)}
        saved: str = super().save_label(image_id, label_filename, label_tag, asked, label_id)
        self.update_label_info(saved, label_tag, {"label_info": told})
        return saved

    def get_label_uri(self, label_id: str, label_tag: str, image_id: str = "") -> str:
        """Return the file of a label that is here; with an image, of one in the PACS, which is fetched."""
        if image_id:
            return str(super().get_label_uri(label_id, label_tag, image_id))
        return str(LocalDatastore.get_label_uri(self, label_id, label_tag))

    def labels(self) -> dict[str, Dataset]:
        """Return the newest label of each image in the PACS, without its voxels."""
        found = [Dataset.from_json(one) for one in self._client.search_for_series(search_filters={"Modality": "SEG"})]
        for one in found:
            if one.SeriesInstanceUID not in self.seen:
                headers = self._client.retrieve_series_metadata(one.StudyInstanceUID, one.SeriesInstanceUID)
                self.seen[one.SeriesInstanceUID] = Dataset.from_json(headers[0])
        labels = newest_labels([self.seen[one.SeriesInstanceUID] for one in found], KINDS)
        return {image: label for image, label in labels.items() if image in self.list_images()}

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Return the images that are labelled."""
        return list(self.labels())

    def _download_labeled_data(self) -> None:
        """Fetch the labels that are not here, or newer; forget those that the PACS has no more."""
        labels = self.labels()
        here = {image: self.get_label_info(image, FINAL) for image in LocalDatastore.get_labeled_images(self)}
        known = {image for image, info in here.items() if image in labels and is_of(info, labels[image])}
        for image in here.keys() - known:
            self.remove_label(image, FINAL)
        self.refresh()
        for image in labels.keys() - known:
            path = self.get_image_uri(image)
            self.get_label_uri(labels[image].SeriesInstanceUID, FINAL, image)
            lay_on_image(Path(self.get_label_uri(image, FINAL)), Path(path))
            told = [{"name": name} for name in names_of_segments(labels[image])]
            self.update_label_info(image, FINAL, {"label_info": told})


def is_of(info: dict[str, Any], label: Dataset) -> bool:
    """Tell whether a label's information says that it is a segmentation of the PACS."""
    return str(info.get("SeriesInstanceUID")) == str(label.SeriesInstanceUID)
