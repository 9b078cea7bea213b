"""From predictions to an upload that a BraTS server accepts: checked against the inputs, then packed."""

from metakd_monai.apps.submission.check import Submission, check_submission, examine_submission
from metakd_monai.apps.submission.exact_grid import Grid, read_grid
from metakd_monai.apps.submission.upload import manifest_path, write_submission

__all__ = [
    "Grid",
    "Submission",
    "check_submission",
    "examine_submission",
    "manifest_path",
    "read_grid",
    "write_submission",
]
