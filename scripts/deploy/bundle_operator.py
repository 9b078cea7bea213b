"""Run a bundle in MONAI Deploy's own MonaiBundleInferenceOperator: ``python bundle_operator.py IMAGE BUNDLE MASK``.

IMAGE is a 4-D NIfTI file, BUNDLE a bundle's folder or what ``python -m monai.bundle ckpt_export`` made of it.
"""

import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.deploy.conditions import CountCondition
from monai.deploy.core import AppContext, Application, Image, IOType, Operator
from monai.deploy.operators.monai_bundle_inference_operator import IOMapping, MonaiBundleInferenceOperator


class Source(Operator):
    """Emits the image, channels last."""

    def setup(self, spec: Any) -> None:
        """Declare the output."""
        spec.output("image")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Emit."""
        image = nib.load(self.fragment.image)
        told = {"original_channel_dim": -1, "original_affine": image.affine, "affine": image.affine.copy()}
        told |= {"spacing": nib.affines.voxel_sizes(image.affine), "spatial_shape": np.asarray(image.shape[:3])}
        op_output.emit(Image(image.get_fdata(dtype=np.float32), metadata=told), "image")


class Sink(Operator):
    """Writes the mask."""

    def setup(self, spec: Any) -> None:
        """Declare the input."""
        spec.input("pred")

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Write."""
        labels = np.swapaxes(op_input.receive("pred").asnumpy(), 0, 2)  # an Image holds depth, height, width
        nib.save(
            nib.Nifti1Image(np.ascontiguousarray(labels), nib.load(self.fragment.image).affine), self.fragment.mask
        )


class BundleApp(Application):
    """Image, bundle, mask."""

    image, bundle, mask = map(Path, sys.argv[1:])

    def compose(self) -> None:
        """Connect the operators."""
        bundle = MonaiBundleInferenceOperator(
            self,
            app_context=AppContext({}),
            input_mapping=[IOMapping("image", Image, IOType.IN_MEMORY)],
            output_mapping=[IOMapping("pred", Image, IOType.IN_MEMORY)],
            bundle_path=self.bundle,
            name="bundle",
        )
        source, sink = Source(self, CountCondition(self, 1), name="source"), Sink(self, name="sink")
        self.add_flow(source, bundle, {("image", "image")})
        self.add_flow(bundle, sink, {("pred", "pred")})


if __name__ == "__main__":
    BundleApp([sys.argv[0]]).run()
