"""As ``sitecustomize.py``, lets a torchvision built for CUDA be imported beside a PyTorch for CPUs.

Its Python code registers fake versions of operators that its CUDA library would have defined. Nothing here calls them.
"""

import contextlib

with contextlib.suppress(Exception):  # where PyTorch is not installed, and where the library could be loaded
    from torch.library import define

    for name in ("nms", "qnms"):
        define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
