"""The steps of :mod:`metakd_monai.apps.examination` as operators of MONAI Deploy."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.deploy.core import Operator

from metakd_monai.apps.cohort import predict_cases
from metakd_monai.apps.examination import find_examinations, finish_examinations, plan_preparation, prepare_examinations
from metakd_monai.apps.predict.outputs import Outputs
from metakd_monai.apps.predict.predictor import Predictor


class PrepareOperator(Operator):
    """Find the examinations in a folder and prepare what is raw; emit ``examinations``."""

    def __init__(
        self, fragment: Any, *args: Any, source: Path, output: Path, settings: Mapping[str, Any], **kwargs: Any
    ) -> None:
        self.source, self.output, self.settings = source, output, settings
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the output."""
        spec.output("examinations")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Find, prepare and emit."""
        found = find_examinations(self.source, patient_ids=not self.settings["pseudonyms"])
        ready = prepare_examinations(found, self.output, plan_preparation, keep_ready=True)
        self.fragment.unfinished += len(found) - len(ready)
        op_output.emit(ready, "examinations")


class SegmentOperator(Operator):
    """Segment ``examinations`` as ``metakd predict`` does, report and picture included; emit what is ``segmented``."""

    def __init__(self, fragment: Any, *args: Any, weights: Path, output: Path, **kwargs: Any) -> None:
        self.weights, self.output = weights, output
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare input and output."""
        spec.input("examinations")
        spec.output("segmented")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment and emit."""
        examinations = op_input.receive("examinations")
        make = partial(Predictor, self.weights, device="cuda" if torch.cuda.is_available() else "cpu")
        failed = predict_cases(make, [examination.case for examination in examinations], Outputs(self.output))
        self.fragment.unfinished += len(failed)
        op_output.emit([one for one in examinations if one.case.case_id not in failed], "segmented")


class ResultsOperator(Operator):
    """Bring the masks of what was ``segmented`` onto the series that they came from, and write DICOM results."""

    def __init__(self, fragment: Any, *args: Any, output: Path, dicom: bool, **kwargs: Any) -> None:
        self.output, self.dicom = output, dicom
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: Any) -> None:
        """Declare the input."""
        spec.input("segmented")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write."""
        failed = finish_examinations(op_input.receive("segmented"), self.output, self.dicom)
        self.fragment.unfinished += len(failed)
