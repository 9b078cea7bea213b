"""AV-MNIST: pairs of written and spoken digits, for classification with a missing modality."""

from metakd_monai.apps.avmnist.augment import jitter
from metakd_monai.apps.avmnist.digit_items import MODALITIES, digit_items, split_pairs
from metakd_monai.apps.avmnist.mfcc import FRONT_ENDS, sound_to_mfcc
from metakd_monai.apps.avmnist.pairs import Pairs, embedded_pairs, make_avmnist, pair_up, read_pairs
from metakd_monai.apps.avmnist.sources import MNIST_FILES, check_digests, read_mnist, read_recordings

__all__ = [
    "FRONT_ENDS",
    "MNIST_FILES",
    "MODALITIES",
    "Pairs",
    "check_digests",
    "digit_items",
    "embedded_pairs",
    "jitter",
    "make_avmnist",
    "pair_up",
    "read_mnist",
    "read_pairs",
    "read_recordings",
    "sound_to_mfcc",
    "split_pairs",
]
