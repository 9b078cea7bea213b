"""Cases on disk: sequences, labels and case names are recognised by file names, never by file order."""

from metakd_monai.data.cases.case import MIXED_ET_NAME, Case, hash_of
from metakd_monai.data.cases.case_folders import nifti_names, walk
from metakd_monai.data.cases.find import find_cases, find_labelled, name_sequences
from metakd_monai.data.cases.groups import group_names
from metakd_monai.data.cases.ids import OWN_SUFFIXES, check_case_id, safe_case_id
from metakd_monai.data.cases.label_names import is_label, read_label
from metakd_monai.data.cases.name_table import NameTable, read_name_table
from metakd_monai.data.cases.naming import name_files
from metakd_monai.data.cases.one_image import files_of_image
from metakd_monai.data.cases.sequences import NIFTI, Ambiguous, recognise

__all__ = [
    "MIXED_ET_NAME",
    "NIFTI",
    "OWN_SUFFIXES",
    "Ambiguous",
    "Case",
    "NameTable",
    "check_case_id",
    "files_of_image",
    "find_cases",
    "find_labelled",
    "group_names",
    "hash_of",
    "is_label",
    "name_files",
    "name_sequences",
    "nifti_names",
    "read_label",
    "read_name_table",
    "recognise",
    "safe_case_id",
    "walk",
]
