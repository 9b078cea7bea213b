"""From tissue and tumours to images: contrast, texture, effects of scanners and of skull stripping."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from metakd_monai.apps.simulation.training.anatomy import CSF, GM, WM, Anatomy
from metakd_monai.apps.simulation.training.contrast import Contrast, draw_contrasts
from metakd_monai.apps.simulation.training.draw import Draw, blur, pool
from metakd_monai.apps.simulation.training.tumours import Tumours
from metakd_monai.vocabulary import Modality

CORE = ("necrosis", "solid", "enhancing")  # fields of Contrast
PARTS = ("oedema", *CORE)
PARTLY_SCANNED = 0.12  # of the cases


def take_images(draw: Draw, anatomy: Anatomy, tumours: Tumours) -> Tensor:
    """Return one image of each sequence ``(N, *S)``, 0 outside of the stripped brain, in units of white matter."""
    contrasts = draw_contrasts(draw)
    tissue = anatomy.tissue
    texture = draw.uniform(0.02, 0.10) * draw.smooth(tissue.shape[1:], 9.0)[0] + 0.04 * draw.normal(tissue.shape[1:])
    parts = split_tumour(draw, tumours)
    scenery = Scenery(draw, tissue)
    images = []
    for number, modality in enumerate(Modality):
        contrast = contrasts[modality]
        if anatomy.images is not None:
            base = restyle(draw, anatomy.images[number])
            contrast = fit(contrast, base, tissue)
        else:
            base = scenery.paint(modality, contrast)
        images.append(finish(draw, insert(draw, base, contrast, parts, texture), tissue))
    return torch.stack(images) * strip(draw, tissue) * field_of_view(draw, tissue)


class Scenery:
    """Structures of a healthy brain beside the three tissues: lesions of age, vessels, meninges, choroid plexus.

    Args:
        draw: of the case.
        tissue: ``(3, *S)``.
    """

    def __init__(self, draw: Draw, tissue: Tensor) -> None:
        shape = tissue.shape[1:]
        self.draw, self.tissue = draw, tissue
        brain = tissue.sum(0).clamp(max=1)
        self.drift = draw.smooth(shape, 30.0, 3)
        spots = draw.smooth(shape, 8.0)[0] - draw.uniform(1.7, 3.0)
        self.aged = torch.sigmoid(6 * spots) * pool(tissue, 3)[WM] if draw.chance(0.4) else torch.zeros_like(brain)
        lines = (draw.smooth(shape, 16.0, 2) ** 2).sum(0).sqrt()  # near 0 along random curves
        self.vessels = torch.sigmoid((draw.uniform(0.03, 0.12) - lines) * 40) * (1 - 0.5 * tissue[WM]) * brain
        edge = brain * (1 - pool(brain[None], 3)[0])
        cover = torch.sigmoid(2 * (draw.smooth(shape, 25.0)[0] - draw.uniform(-0.5, 1.5)))
        self.meninges = (4 * edge).clamp(max=1) * cover
        self.plexus = tissue[CSF] * lies_deep(tissue) * torch.sigmoid(4 * (draw.smooth(shape, 7.0)[0] - 0.8))

    def paint(self, modality: Modality, contrast: Contrast) -> Tensor:
        """Return one sequence of the healthy brain, ``(*S)``."""
        draw, tissue = self.draw, self.tissue
        vary = 1 + draw.uniform(0, 0.06) * self.drift
        image = tissue[CSF] * contrast.csf * vary[CSF] + tissue[GM] * contrast.grey * vary[GM] + tissue[WM] * vary[WM]
        if modality in (Modality.FLAIR, Modality.T2):
            image = image + self.aged * draw.uniform(0.1, 0.7)
        if modality is Modality.T1CE:
            image = image + self.vessels * draw.uniform(0, 2.0) + self.meninges * draw.uniform(0, 1.0)
            image = image + self.plexus * draw.uniform(0, 1.0)
        elif modality is Modality.T1:
            image = image + self.meninges * draw.uniform(0, 0.3)
        return image


def lies_deep(tissue: Tensor) -> Tensor:
    """Return the voxels of tissue ``(3, *S)`` with four voxels of brain on nearly all sides, ``(*S)`` bool."""
    return pool(tissue.sum(0, keepdim=True).clamp(max=1), 9)[0] > 0.97


def split_tumour(draw: Draw, tumours: Tumours) -> dict[str, Tensor]:
    """Return the shares of a voxel by appearance; they sum to at most 1."""
    enhancing, necrosis = tumours.enhancing, tumours.necrosis
    solid = (tumours.core - enhancing - necrosis).clamp(min=0)
    oedema = (tumours.whole - tumours.core).clamp(min=0)
    blood = torch.zeros_like(oedema)
    if draw.chance(0.12):
        blood = (tumours.core * torch.sigmoid(4 * (draw.smooth(oedema.shape, 9.0)[0] - 0.7))).clamp(max=1)
    return {"oedema": oedema, "necrosis": necrosis, "solid": solid, "enhancing": enhancing, "blood": blood}


def insert(draw: Draw, base: Tensor, contrast: Contrast, parts: dict[str, Tensor], texture: Tensor) -> Tensor:
    """Insert the tumours into a healthy image; through oedema the tissue beneath remains partly visible."""
    kept, coarse, fine = draw.uniform(0.0, 0.6), draw.uniform(0.5, 1.5), draw.uniform(0.5, 2.0)
    image = base * (1 - sum(parts[name] for name in PARTS))
    image = image + parts["oedema"] * (contrast.oedema * (1 + coarse * texture) + kept * (base - 1))
    for name in CORE:
        image = image + parts[name] * getattr(contrast, name) * (1 + fine * texture)
    return image * (1 - parts["blood"]) + parts["blood"] * draw.uniform(0.5, 1.5) * max(contrast.solid, 0.8)


def restyle(draw: Draw, image: Tensor) -> Tensor:
    """Change the contrast of a real image ``(*S)`` whose white matter is 1."""
    power = draw.uniform(0.65, 1.5)
    return image.clamp(min=0) ** power


def fit(contrast: Contrast, base: Tensor, tissue: Tensor) -> Contrast:
    """Shift drawn tumour intensities to keep their relation to grey matter, here this image's."""
    grey = base[(tissue[GM] > 0.6) & (tissue.sum(0) > 0.9)]
    ratio = float(grey.median()) / contrast.grey if grey.numel() else 1.0
    return Contrast(
        contrast.csf * ratio,
        contrast.grey * ratio,
        *(value * ratio for value in (contrast.oedema, contrast.necrosis, contrast.solid, contrast.enhancing)),
    )


def finish(draw: Draw, image: Tensor, tissue: Tensor) -> Tensor:
    """Add effects of a scanner: thick slices or blur, bias field, noise, an intensity curve, clipping at the top."""
    volume = image[None]
    if draw.chance(0.45):
        volume = slice_thickly(draw, volume)
    elif draw.chance(0.7):
        volume = blur(volume, [draw.uniform(0, 1.4) / draw.spacing] * 3)
    volume = volume * torch.exp(draw.uniform(0, 0.13) * draw.smooth(image.shape, draw.uniform(50, 110)))
    noise = draw.normal(volume.shape)
    volume = volume + draw.uniform(0, 0.06) * (noise if draw.chance(0.5) else 3 * pool(noise, 3))
    volume = volume.clamp(min=0.01)
    top = draw.uniform(1.8, 4.0)
    volume = top * (volume / top) ** draw.uniform(0.75, 1.3)
    values = volume[0][tissue.sum(0) > 0.5]
    if draw.chance(0.5) and values.numel():
        few = values[:: max(1, values.numel() // 20000)]
        volume = torch.minimum(volume, torch.quantile(few, draw.uniform(0.985, 0.9999)))
    return volume[0]


def slice_thickly(draw: Draw, volume: Tensor) -> Tensor:
    """Average ``(C, *S)`` over slices of 3 to 6 mm, mostly axial, and interpolate back."""
    axis = draw.choice((0.12, 0.13, 0.75))
    shape = list(volume.shape[1:])
    fewer = list(shape)
    thickness = draw.uniform(max(3.0, 1.2 * draw.spacing), max(6.5, 1.5 * draw.spacing))
    fewer[axis] = max(4, round(shape[axis] * draw.spacing / thickness))
    thick = functional.interpolate(volume[None], fewer, mode="area")
    return functional.interpolate(thick, shape, mode="trilinear")[0]


def strip(draw: Draw, tissue: Tensor) -> Tensor:
    """Return the mask ``(*S)`` of imperfect skull stripping: bits of brain lost, some fluid or dura kept or cut."""
    soft = pool(tissue.sum(0, keepdim=True), 3)[0]
    solid = pool((tissue[GM] + tissue[WM])[None], 3)[0]
    tight = draw.uniform(0, 1) if draw.chance(0.4) else 0.0  # share of the outer fluid to remove
    tightly = (1 - tight) * soft + tight * torch.minimum(soft, 1.3 * solid)
    where = torch.where(lies_deep(tissue), soft, tightly)  # the ventricles are kept
    return where + draw.uniform(0, 0.12) * draw.smooth(soft.shape, 20.0)[0] > draw.uniform(0.15, 0.6)


def field_of_view(draw: Draw, tissue: Tensor) -> Tensor:
    """Return the scanned voxels ``(*S)`` bool: usually all; else mostly the lower end of the brain is missing."""
    scanned = torch.ones(tissue.shape[1:], dtype=torch.bool, device=tissue.device)
    if draw.chance(PARTLY_SCANNED):
        slices = tissue.sum(0).amax(dim=(0, 1)).gt(0.5).nonzero().flatten()  # towards the top
        share = draw.uniform(0.05, 0.4)
        below, above = (share, 0.0) if draw.chance(0.75) else (0.0, 0.6 * share)
        scanned[..., slices[: int(below * len(slices))]] = False
        scanned[..., slices[len(slices) - int(above * len(slices)) :]] = False
    return scanned
