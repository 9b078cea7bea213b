"""Brains to grow tumours in: the SRI24 atlas, the embedded analytic brain, and real cases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose, Orientationd, generate_spatial_bounding_box
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from metakd_monai.apps.simulation.toy import CSF as SIMULATED_CSF
from metakd_monai.apps.simulation.toy import GREY, WHITE, make_brain
from metakd_monai.apps.simulation.training.draw import pool
from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_nifti, read_voxels
from metakd_monai.errors import UserError
from metakd_monai.transforms import LoadImageModalitiesd, LoadLabeld
from metakd_monai.vocabulary import WORKING_AXES, Label, Modality

CSF, GM, WM = range(3)  # order of tissue maps
TISSUES = ("csf", "gm", "wm")  # their names in files
ATLAS_ENDINGS = tuple(f"_pbmap_{tissue}_u8.nii.gz" for tissue in TISSUES)
EMBEDDED_BRAINS = 4
MARGIN_MM = 14.0  # room for deformation around a brain


@dataclass(frozen=True)
class Anatomy:
    """A brain on an isotropic grid, axes towards left, posterior, superior.

    Attributes:
        name: where it comes from.
        tissue: probabilities of CSF, grey and white matter, ``(3, *S)``; they sum to 0 outside the brain.
        images: real images of the sequences, ``(N, *S)``, in units of each one's white matter, extended slightly beyond
            the brain's border; None for a brain with tissue only.
        labels: label map of a real tumour, ``(*S)``, all 0 without one.
    """

    name: str
    tissue: Tensor
    images: Tensor | None
    labels: Tensor

    def to(self, device: str | torch.device) -> Anatomy:
        """Return it, moved to a device."""
        images = None if self.images is None else self.images.to(device)
        return replace(self, tissue=self.tissue.to(device), images=images, labels=self.labels.to(device))


def load_anatomies(
    spacing: float, atlas: str | Path | None = None, real: str | Path | None = None, brains: int = EMBEDDED_BRAINS
) -> list[Anatomy]:
    """Load all the brains to draw from.

    Args:
        spacing: of their grids in mm.
        atlas: a folder with tissue maps of one atlas or more (``sri24_pbmap_csf_u8.nii.gz`` ...); without it embedded
            brains.
        real: a folder of labelled cases with all four sequences, whose brains are used as they are too.
        brains: number of embedded ones to make without an atlas.

    Raises:
        UserError: for a folder without these files.
    """
    if atlas is not None:
        anatomies = read_atlases(Path(atlas), spacing)
    else:
        anatomies = [make_embedded(number, spacing) for number in range(brains)]
    return anatomies + ([] if real is None else read_real(Path(real), spacing))


def read_atlases(folder: Path, spacing: float) -> list[Anatomy]:
    """Read tissue maps (SRI24's, Rohlfing et al. 2010, or others in the same form), by name."""
    names = sorted(path.name.removesuffix(ATLAS_ENDINGS[0]) for path in folder.glob(f"*{ATLAS_ENDINGS[0]}"))
    if not names:
        expected = ", ".join(f"NAME{ending}" for ending in ATLAS_ENDINGS)
        raise UserError(f"{folder}: no sri24{ATLAS_ENDINGS[0]} or other atlas there; expected {expected}")
    return [read_atlas(folder, name, spacing) for name in names]


def read_atlas(folder: Path, name: str, spacing: float) -> Anatomy:
    """Read the tissue maps of an atlas, from 0 to 255, of isotropic voxels; axes as in a BraTS file."""
    files = [folder / f"{name}{ending}" for ending in ATLAS_ENDINGS]
    for file in files:
        if not file.is_file():
            raise UserError(f"{folder}: no {file.name}; expected it beside {files[0].name}")
    tissue = torch.from_numpy(np.stack([read_voxels(file) for file in files])).float() / 255
    pixdim = float(np.mean(read_nifti(files[0]).edges))
    tissue = resample(cut(tissue, tissue.sum(0) > 0.1, pixdim), pixdim, spacing)
    return Anatomy(name, tissue, None, torch.zeros(tissue.shape[1:], dtype=torch.int64))


def make_embedded(number: int, spacing: float) -> Anatomy:
    """Make the analytic brain of ``metakd simulate`` on a grid that holds it."""
    shape = tuple(round(mm / spacing) for mm in (144, 180, 144))
    map_, _ = make_brain(np.random.default_rng([number, 7]), shape, spacing)
    tissue = torch.from_numpy(np.stack([map_ == kind for kind in (SIMULATED_CSF, GREY, WHITE)])).float()
    tissue = pool(cut(tissue, tissue.sum(0) > 0, spacing), 3)
    return Anatomy(f"embedded {number}", tissue, None, torch.zeros(tissue.shape[1:], dtype=torch.int64))


def read_real(folder: Path, spacing: float) -> list[Anatomy]:
    """Read the labelled cases of a folder that have every sequence."""
    keys = ["image", "label"]
    load = Compose(
        [
            LoadImageModalitiesd(),
            LoadLabeld("label"),
            Orientationd(keys, axcodes=WORKING_AXES, labels=None),
        ]
    )
    anatomies = []
    for case in tqdm(find_cases(folder), desc="real brains", unit="case", disable=None):
        item: dict[str, Any] = dict(load(case.as_item())) if case.label is not None else {}
        if item and bool(item["available"].all()):
            image, labels = item["image"], item["label"][0].as_tensor().long()
            anatomies.append(from_images(case.case_id, image.as_tensor(), labels, float(image.pixdim.mean()), spacing))
    if not anatomies:
        raise UserError(f"{folder}: no case with four sequences and a label map; expected at least one")
    return anatomies


def from_images(name: str, images: Tensor, labels: Tensor, pixdim: float, spacing: float) -> Anatomy:
    """Make a brain of real images ``(N, *S)`` and a label map ``(*S)``; tissue is told from T1, T2 and FLAIR."""
    brain = images.abs().sum(0) > 0
    regions = torch.stack([labels == value for value in (Label.NECROSIS, Label.OEDEMA, Label.ET)]).float()
    stack = cut(torch.cat([images.float(), regions, brain[None].float()]), brain, pixdim)
    stack = resample(stack, pixdim, spacing)
    sums, shares, share = stack[: len(images)], stack[len(images) : -1], stack[-1]
    images, brain = extend(sums, share), share > 0.5
    values = torch.tensor([0, Label.NECROSIS, Label.OEDEMA, Label.ET])
    labels = values[torch.cat([(1 - shares.sum(0, keepdim=True)), shares]).argmax(0)] * brain
    tissue = classify_tissue(images, brain, labels > 0, spacing)
    white = (tissue[WM] > 0.5) & (labels == 0)
    scale = torch.stack([image[white].median() for image in images])
    return Anatomy(name, tissue, images / scale[:, None, None, None], labels)


def extend(images: Tensor, share: Tensor, voxels: int = 3) -> Tensor:
    """Extend images ``(N, *S)`` beyond the border of the brain, so that blurring and bending bring in no darkness.

    Args:
        images: sums over voxels of which a share is brain.
        share: ``(*S)``.
        voxels: how far.
    """
    known = (share > 0.5).float()
    images = images / share.clamp(min=0.5) * known
    for _ in range(voxels):
        around = pool(torch.cat([images, known[None]]), 3)
        new = (known == 0) & (around[-1] > 0)
        images = torch.where(new, around[:-1] / around[-1].clamp(min=1e-3), images)
        known = torch.maximum(known, new.float())
    return images


def classify_tissue(images: Tensor, brain: Tensor, tumour: Tensor, spacing: float) -> Tensor:
    """Classify CSF, grey and white matter by three clusters of T1, T2 and FLAIR; in a tumour, as on the other side.

    Args:
        images: ``(N, *S)``.
        brain: ``(*S)`` bool.
        tumour: ``(*S)`` bool.
        spacing: in mm.

    Returns:
        Probabilities ``(3, *S)``, 0 outside of the brain.
    """
    from scipy.cluster.vq import kmeans2

    order = list(Modality)
    healthy = brain & ~tumour
    chosen = torch.stack(
        [even_out(images[order.index(m)], healthy, spacing) for m in (Modality.T1, Modality.T2, Modality.FLAIR)]
    )
    inner = healthy & (pool(brain[None].float(), 3)[0] > 0.99)  # the border consists of remains of the skull stripping
    values = chosen[:, inner]
    middle = values.median(1, keepdim=True).values
    width = (values - middle).abs().median(1, keepdim=True).values.clamp(min=1e-6)
    features = ((chosen.flatten(1) - middle) / width).clamp(-6, 6).T  # (voxels, 3)
    start = torch.tensor([[-4.5, 4.5, -4.5], [-1.0, 0.5, 0.5], [1.0, -0.7, -0.5]])  # CSF, grey, white
    centres, _ = kmeans2(features[inner.flatten()].numpy(), start.numpy(), minit="matrix", iter=50)
    distance = torch.cdist(features, torch.from_numpy(centres).float()) ** 2
    tissue = torch.softmax(-distance / 2, dim=1).T.reshape(3, *brain.shape) * brain
    mirrored = tissue.flip(1)
    return torch.where(tumour & (mirrored.sum(0) > 0.5), mirrored, tissue)


def even_out(image: Tensor, inside: Tensor, spacing: float) -> Tensor:
    """Remove an image's bias field by N4 (Tustison et al. 2010), estimated on voxels of 6 mm in a mask ``(*S)``."""
    import itk

    shares = resample(torch.stack([inside.float(), image * inside]), spacing, max(6.0, spacing))
    coarse = (shares[1] / shares[0].clamp(min=0.1)).clamp(min=1e-3 * float(image.max()))
    mask = shares[0] > 0.5
    image_type, mask_type = itk.Image[itk.F, 3], itk.Image[itk.UC, 3]
    corrected = itk.n4_bias_field_correction_image_filter(
        itk.image_from_array(coarse.numpy()),
        mask_image=itk.image_from_array(mask.numpy().astype(np.uint8)),
        number_of_fitting_levels=3,
        maximum_number_of_iterations=[20] * 3,
        ttype=(image_type, mask_type, image_type),
    )
    field = coarse / torch.from_numpy(itk.array_from_image(corrected)).clamp(min=1e-6)
    field = torch.where(mask, field, field[mask].median())
    return image / functional.interpolate(field[None, None], list(image.shape), mode="trilinear")[0, 0]


def cut(volume: Tensor, inside: Tensor, spacing: float) -> Tensor:
    """Cut ``(C, *S)`` to the box of a mask ``(*S)``, with room around it."""
    every = (slice(None), *box_of(inside, 0))
    return functional.pad(volume[every], [round(MARGIN_MM / spacing)] * 6)


def box_of(mask: Tensor, margin: int) -> tuple[slice, ...]:
    """Return the box of a mask ``(*S)`` with a margin in voxels, within the volume."""
    first, last = generate_spatial_bounding_box(mask[None], margin=margin, allow_smaller=True)
    return tuple(slice(int(low), int(high)) for low, high in zip(first, last, strict=True))


def resample(volume: Tensor, before: float, after: float) -> Tensor:
    """Bring ``(C, *S)`` from one voxel size to another; coarser ones are means over their space."""
    size = [max(1, round(n * before / after)) for n in volume.shape[1:]]
    mode = "area" if after > before else "trilinear"
    return functional.interpolate(volume[None], size, mode=mode)[0]
