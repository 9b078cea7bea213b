"""The one table of words: what each word of a file name or series description means."""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """What a word means; the value is its description in the documentation."""

    SEQUENCE = "the sequence"
    T1_METHOD = "T1 by its method, if no sequence is named"
    DARK_FLUID = "FLAIR, in two words"
    UNSURE = "FLAIR or T2"
    CONTRAST = "contrast agent"
    POST = "after"
    PRE = "before"
    NATIVE = "no contrast agent"
    WITHOUT = "without"
    LETTER = "contrast agent, right after T1"
    OPERATION = "what before and after may refer to instead"
    OTHER = "an image that is none of the four"
    ONTO = "registered to the image that follows"
    REGISTERED = "registered to another image, which may follow"
    DERIVED = "derived from another image"
    NEUTRAL = "no information"
    LABEL = "label map"
    TUMOUR = "of the tumour"
    NO_TUMOUR = "of something other than the tumour"
    PART = "of a part of the tumour"
    MACHINE = "made by a program"
    ENTITY = "BIDS"
    CASE = "BIDS, part of the case's name"
    UNKNOWN = "part of the case's name"


TABLE = {
    Kind.T1_METHOD: "mprage bravo fspgr spgr",
    Kind.DARK_FLUID: "darkfluid",
    Kind.UNSURE: "tirm",
    Kind.CONTRAST: (
        "ce gd gad gado gadolinium gadovist gadavist gadobutrol dotarem magnevist multihance prohance "
        "omniscan dtpa gddtpa contrast contrasted contraste contrasto kontrast kontrastmittel contr km cm mdc "
        "civ enhanced enhance enh gbca plus pc pg pgd ctr cont inj injected injection injecte plusc cplus"
    ),
    Kind.POST: "post after nach apres dopo",
    Kind.PRE: "pre before vor avant prima",
    Kind.NATIVE: "native nativ nativo unenhanced plain cminus",
    Kind.WITHOUT: "without wo ohne sans senza zonder sin sem no non not minus",
    Kind.LETTER: "c",
    Kind.OPERATION: (
        "op ops surgery surgical operative operation resection biopsy treatment therapy tx rt radiation rct "
        "chemo chemotherapy radiotherapy"
    ),
    Kind.OTHER: (
        "star starw map maps mapping rho swi swan dwi adc dti dsc dce asl pwi perf perfusion cbf cbv mtt ttp "
        "ktrans tof mra mrv bold fmri func qsm stir pd pdw sub subtr subtraction subtracted difference delta "
        "trace relaxometry mrs spectroscopy ct pet mt mtr localizer localiser scout survey"
    ),
    Kind.ONTO: "to 2 onto into on in",
    Kind.REGISTERED: (
        "r reg registered registration coreg coregistered aligned align warped resliced resampled transformed "
        "rigid affine matched"
    ),
    Kind.DERIVED: (
        "bias biascorr biascorrected n4 n4itk corrected corr brain bet hdbet stripped skullstripped ss "
        "unstripped noskull withskull skull masked applied norm normalized normalised zscore histmatch "
        "preproc preprocessed processed proc denoised smoothed smooth cropped crop defaced deface upsampled "
        "downsampled copy old prev previous backup bak mni mni152 sri sri24 std"
    ),
    Kind.NEUTRAL: (
        "ax axial tra trans transversal sag sagittal cor coronal 2d 3d iso isotropic se tse fse ffe tfe tfl "
        "ir fl flash gre cube space spc vista vibe blade propeller fs fatsat w wi weighted with mit avec con "
        "mri mr brats and anat orig original raw new final hires high res lps ras"
    ),
    Kind.LABEL: (
        "seg segm segs segmentation segmentations segmented dseg label labels labelmap mask masks brainmask "
        "gt groundtruth truth annotation annotations roi rois"
    ),
    Kind.TUMOUR: "tumor tumour tumors tumours lesion lesions glioma gbm glioblastoma",
    Kind.NO_TUMOUR: (
        "brain brainmask parenchyma parenchymal tissue tissues dseg skull head face wm gm csf white grey gray "
        "matter vessel vessels ventricle ventricles aseg aparc atlas hippocampus cerebellum bet"
    ),
    Kind.PART: (
        "et tc wt ed ncr net enhancing nonenhancing core edema oedema necrosis necrotic cavity cellular "
        "infiltration whole"
    ),
    Kind.MACHINE: (
        "auto automatic automated pred prediction predicted predictions model nnunet algorithm glistrboost "
        "output probabilities probability prob uncertainty approx"
    ),
}
