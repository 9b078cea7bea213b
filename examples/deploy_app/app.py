"""How the operators are connected."""

from __future__ import annotations

from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application
from operators import PrepareOperator, ResultsOperator, SegmentOperator

from metakd_monai.weights.locate import find_weights

CONFIG = Path(__file__).with_name("app.yaml")  # HOLOSCAN_CONFIG_PATH names another one


class SegmentationApp(Application):
    """Prepare the examinations in a folder, segment them, write masks, reports and DICOM results.

    Options are the SDK's: ``--input``, ``--output``, ``--model``, or what stands for them in a container's environment.
    What this application can be told beyond that is the part ``metakd`` of ``app.yaml``.
    """

    unfinished = 0  # examinations without results

    def compose(self) -> None:
        """Connect the operators."""
        context = Application.init_app_context(self.argv)
        settings = self.kwargs("metakd")
        output = Path(context.output_path)
        weights = find_weights(context.model_path)
        source = Path(context.input_path)
        prepare = PrepareOperator(
            self, CountCondition(self, 1), source=source, output=output, settings=settings, name="prepare"
        )
        segment = SegmentOperator(self, weights=weights, output=output, name="segment")
        results = ResultsOperator(self, output=output, dicom=settings["dicom"], name="results")
        self.add_flow(prepare, segment, {("examinations", "examinations")})
        self.add_flow(segment, results, {("segmented", "segmented")})
