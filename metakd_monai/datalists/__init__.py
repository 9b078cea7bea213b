"""From a BraTS download to a MONAI datalist with documented splits."""

from metakd_monai.datalists.check import refuse_missing
from metakd_monai.datalists.files import PARTS, datalist_part, read_datalist, write_datalist
from metakd_monai.datalists.layout import Entry, Layout, read_layout
from metakd_monai.datalists.splits import META_CASES, count_meta, make_datalist

__all__ = [
    "META_CASES",
    "PARTS",
    "Entry",
    "Layout",
    "count_meta",
    "datalist_part",
    "make_datalist",
    "read_datalist",
    "read_layout",
    "refuse_missing",
    "write_datalist",
]
