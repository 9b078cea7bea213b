"""The names that bundle JSON calls. Do not rename them: configurations of users call them too."""

from metakd_monai.bundle.options import make_lr_scheduler, pick, set_up_randomness, switch
from metakd_monai.bundle.parallel import join_processes, leave_processes
from metakd_monai.bundle.root import bundle_root, output_folder
from metakd_monai.bundle.split import Split, case_names, is_split, join_parts, list_cases, make_part

__all__ = [
    "Split",
    "bundle_root",
    "case_names",
    "is_split",
    "join_parts",
    "join_processes",
    "leave_processes",
    "list_cases",
    "make_lr_scheduler",
    "make_part",
    "output_folder",
    "pick",
    "set_up_randomness",
    "switch",
]
