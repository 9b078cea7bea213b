"""The networks of other methods, for comparison: docs/explanation/methods.md describes each and its differences."""

from metakd_monai.networks.methods.baseline import ARCHITECTURE, BaselineNetwork, Extra, read_note
from metakd_monai.networks.methods.correlation import CorrelationUNet
from metakd_monai.networks.methods.hemis import HeMISUNet
from metakd_monai.networks.methods.mixture import ExpertMixture
from metakd_monai.networks.methods.mm_former import MMFormer
from metakd_monai.networks.methods.rf_net import RFNet
from metakd_monai.networks.methods.robust_mseg import RobustMSeg
from metakd_monai.networks.methods.s_fusion import SFusionUNet
from metakd_monai.networks.methods.sha_spec import ShaSpecUNet
from metakd_monai.networks.methods.zero_filled import MeanFilledDynUNet, ZeroFilledDynUNet

NETWORKS: dict[str, type[BaselineNetwork]] = {
    one.__name__: one
    for one in (
        CorrelationUNet,
        ExpertMixture,
        HeMISUNet,
        MMFormer,
        MeanFilledDynUNet,
        RFNet,
        RobustMSeg,
        SFusionUNet,
        ShaSpecUNet,
        ZeroFilledDynUNet,
    )
}

__all__ = [
    "ARCHITECTURE",
    "NETWORKS",
    "BaselineNetwork",
    "CorrelationUNet",
    "ExpertMixture",
    "Extra",
    "HeMISUNet",
    "MMFormer",
    "MeanFilledDynUNet",
    "RFNet",
    "RobustMSeg",
    "SFusionUNet",
    "ShaSpecUNet",
    "ZeroFilledDynUNet",
    "read_note",
]
