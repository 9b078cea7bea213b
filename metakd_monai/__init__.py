"""MetaKD for MONAI: brain-tumour segmentation that keeps working when MRI sequences are missing."""

__version__ = "0.3.0"
