"""MetaKD's networks: encoders, Eq. (2), and a fused decoder that segments or classifies."""

from metakd_monai.networks.architecture import infer_architecture
from metakd_monai.networks.availability import find_available
from metakd_monai.networks.classifier import LateFusionClassifier, MetaKDClassifier
from metakd_monai.networks.encoders import ConvEncoder, VectorEncoder
from metakd_monai.networks.fusion import scatter_rows
from metakd_monai.networks.graph import GraphMetaKDUNet
from metakd_monai.networks.importance import ElectedTeachers, ImportanceWeights, WithImportance
from metakd_monai.networks.metakd_unet import MetaKDUNet
from metakd_monai.networks.segmentation_network import SegmentationNetwork
from metakd_monai.networks.with_features import WithFeatures, segment_subsets

__all__ = [
    "ConvEncoder",
    "ElectedTeachers",
    "GraphMetaKDUNet",
    "ImportanceWeights",
    "LateFusionClassifier",
    "MetaKDClassifier",
    "MetaKDUNet",
    "SegmentationNetwork",
    "VectorEncoder",
    "WithFeatures",
    "WithImportance",
    "find_available",
    "infer_architecture",
    "scatter_rows",
    "segment_subsets",
]
