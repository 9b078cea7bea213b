"""MetaKD's networks: one encoder shared by all modalities, Eq. (2) at every scale, a fused decoder."""

from metakd_monai.networks.availability import WithFeatures, find_available
from metakd_monai.networks.graph import GraphMetaKDUNet
from metakd_monai.networks.importance import ImportanceWeights, WithImportance
from metakd_monai.networks.rows import scatter_rows
from metakd_monai.networks.unet import MetaKDUNet, infer_architecture

__all__ = [
    "GraphMetaKDUNet",
    "ImportanceWeights",
    "MetaKDUNet",
    "WithFeatures",
    "WithImportance",
    "find_available",
    "infer_architecture",
    "scatter_rows",
]
