"""The networks of other methods, for comparison: docs/methods.md says what each is and where it differs."""

from metakd_monai.networks.methods.baseline import ARCHITECTURE, BaselineNetwork, Extra, read_note
from metakd_monai.networks.methods.hemis import HeMISUNet
from metakd_monai.networks.methods.zero_filled import ZeroFilledDynUNet

NETWORKS: dict[str, type[BaselineNetwork]] = {one.__name__: one for one in (HeMISUNet, ZeroFilledDynUNet)}

__all__ = ["ARCHITECTURE", "NETWORKS", "BaselineNetwork", "Extra", "HeMISUNet", "ZeroFilledDynUNet", "read_note"]
