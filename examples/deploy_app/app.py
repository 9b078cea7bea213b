"""How the operators are connected."""

from __future__ import annotations

from pathlib import Path

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Image, IOType
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator
from operators import MaskWriterOperator, StudyReaderOperator


class SegmentationApp(Application):
    """Read a study, segment it with a MONAI bundle, write the mask.

    Options are the SDK's: ``--input`` folder, ``--output`` folder, ``--model`` bundle folder or TorchScript bundle.
    """

    def compose(self) -> None:
        """Connect reader, bundle and writer."""
        context = Application.init_app_context(self.argv)
        context.models = None  # found by the SDK's own rules in --model; the operator knows bundles better
        reader = StudyReaderOperator(self, CountCondition(self, 1), source=Path(context.input_path), name="reader")
        bundle = MonaiBundleInferenceOperator(
            self,
            app_context=context,
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            bundle_path=context.model_path,
            name="bundle",
        )
        writer = MaskWriterOperator(self, output=Path(context.output_path), name="writer")
        self.add_flow(reader, bundle, {("image", "image")})
        self.add_flow(reader, writer, {("study", "study")})
        self.add_flow(bundle, writer, {("pred", "pred")})
