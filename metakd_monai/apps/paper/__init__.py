"""The paper's figures and its Table 6, drawn from the user's runs; captions tell what was run."""

from metakd_monai.apps.paper.alpha_figure import draw_alpha, normalization_lines
from metakd_monai.apps.paper.mask_figures import draw_modalities, draw_networks
from metakd_monai.apps.paper.run_curves import draw_fill, draw_importance, draw_losses

__all__ = [
    "draw_alpha",
    "draw_fill",
    "draw_importance",
    "draw_losses",
    "draw_modalities",
    "draw_networks",
    "normalization_lines",
]
