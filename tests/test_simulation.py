import math

import pytest
import torch
from click.testing import CliRunner
from conftest import BUNDLE
from monai.bundle import ConfigParser

from metakd_monai.apps.simulation.training import (
    Anatomy,
    RandSimulated,
    load_anatomies,
    simulate,
    simulated_case,
    simulated_split,
    tumours,
)
from metakd_monai.apps.simulation.training.anatomy import classify_tissue, cut, extend, from_images, resample
from metakd_monai.apps.simulation.training.contrast import CYSTIC, draw_contrasts
from metakd_monai.apps.simulation.training.draw import Draw, blur, pool
from metakd_monai.apps.simulation.training.scan import field_of_view
from metakd_monai.apps.simulation.training.spread import front, travel
from metakd_monai.apps.simulation.training.tumours import EDGE, Tumours, grow_one, no_tumour
from metakd_monai.apps.simulation.training.warp import apply, flip
from metakd_monai.cli import main
from metakd_monai.data.cases import find_cases
from metakd_monai.data.nifti import read_voxels
from metakd_monai.data.stream import SeededDataset, StreamSampler
from metakd_monai.errors import UserError
from metakd_monai.vocabulary import Label, Modality

SPACING = 6.0


@pytest.fixture(scope="module")
def brains():
    return load_anatomies(SPACING, brains=2)


def test_same_seed_same_case_and_another_seed_another(brains):
    one, two, other = (simulate(seed, brains, SPACING) for seed in (3, 3, 4))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert one[0].shape != other[0].shape or not torch.equal(one[0], other[0])


def test_cases_are_finite_inside_the_brain_and_differ_in_what_they_have(brains):
    sizes, kinds = [], set()
    for seed in range(24):
        images, labels = simulate(seed, brains, SPACING)
        assert images.shape[1:] == labels.shape
        assert images.isfinite().all()
        assert (images >= 0).all()
        assert not (labels[(images == 0).all(0)] > 0).any()
        assert set(labels.unique().tolist()) <= {0, Label.NECROSIS, Label.OEDEMA, Label.ET}
        sizes.append(int((labels > 0).sum()))
        kinds.add(bool((labels == Label.ET).any()))
    assert min(sizes) < 0.5 * max(sizes)
    assert kinds == {True, False}  # some do not enhance


def test_tumours_look_in_each_sequence_as_they_do_in_patients(brains):
    """Oedema is bright in FLAIR and T2; what enhances is brighter than white matter in T1ce, and not in T1."""
    for seed in range(200):
        contrasts = draw_contrasts(Draw(seed))
        flair, t1, t1ce, t2 = (contrasts[m] for m in Modality)
        assert flair.oedema > flair.grey > 1 > flair.csf
        assert t2.csf > t2.grey > 1
        assert t2.oedema > t2.grey
        assert t1.csf < t1.grey < 1
        assert t1.oedema < 1
        assert t1ce.enhancing > 1
        assert t1ce.enhancing > t1ce.grey


def test_what_takes_up_no_agent_looks_much_the_same_on_t1_before_and_after_it():
    cases = [draw_contrasts(Draw(seed)) for seed in range(200)]
    for name in ("csf", "oedema", "necrosis", "solid"):
        pairs = [[getattr(case[m], name) / case[m].grey for m in (Modality.T1, Modality.T1CE)] for case in cases]
        assert 0.6 < torch.corrcoef(torch.tensor(pairs).T)[0, 1] < 0.99
    rise = [case[Modality.T1CE].enhancing - case[Modality.T1].enhancing for case in cases]
    assert min(rise) > 0


def test_some_necrosis_is_as_dark_in_flair_as_fluid_and_none_darker():
    flair = [draw_contrasts(Draw(seed))[Modality.FLAIR] for seed in range(200)]
    assert all(one.necrosis >= one.csf for one in flair)
    assert 0.05 < sum(one.necrosis < 0.35 for one in flair) / len(flair) < CYSTIC


def test_what_is_not_scanned_is_one_end_of_some_brains(brains):
    tissue = brains[0].tissue
    has = tissue.sum(0).amax((0, 1)) > 0.5
    missing = []
    for seed in range(100):
        scanned = field_of_view(Draw(seed, spacing=SPACING), tissue)
        slices = scanned.all((0, 1))
        assert torch.equal(slices, scanned.any((0, 1)))  # whole slices
        assert (slices[1:] != slices[:-1]).sum() <= 2
        missing.append(float((has & ~slices).sum() / has.sum()))
    assert 0.05 < sum(share > 0 for share in missing) / len(missing) < 0.25
    assert max(missing) <= 0.4


def test_smooth_fields_have_unit_spread_and_their_width():
    draw = Draw(0, spacing=1.0)
    narrow, wide = draw.smooth((60, 64, 50), 6.0)[0], draw.smooth((60, 64, 50), 30.0)[0]
    assert narrow.shape == (60, 64, 50)
    assert 0.8 < float(narrow.std()) < 1.2

    def roughness(field):
        return float((field[1:] - field[:-1]).std() / field.std())

    assert roughness(narrow) > 3 * roughness(wide)


def test_pool_and_blur_keep_a_constant_and_pool_is_a_mean():
    constant = torch.full((2, 9, 8, 7), 3.0)
    assert torch.allclose(pool(constant, 5), constant)
    assert torch.allclose(blur(constant, [1.0, 0.0, 2.0]), constant)
    noise = torch.randn(1, 9, 9, 9)
    assert torch.allclose(pool(noise, 3)[0, 4, 4, 4], noise[0, 3:6, 3:6, 3:6].mean(), atol=1e-5)


def test_core_lies_in_the_whole_tumour_and_enhances_in_part(brains):
    tissue = brains[0].tissue
    for seed in range(6):
        tumour = grow_one(Draw(seed, spacing=SPACING), tissue, torch.ones(tissue.shape[1:], dtype=torch.bool), 1.0)
        assert (tumour.core <= tumour.whole + 1e-6).all()
        assert (tumour.enhancing + tumour.necrosis <= tumour.core + 1e-5).all()
        assert set(tumour.labels().unique().tolist()) <= {0, 1, 2, 4}
    assert not no_tumour(tissue[0]).labels().any()


def test_a_voxel_is_labelled_from_a_share_of_tumour_on_that_patients_labels_begin_at():
    share = torch.linspace(0, 1, 101)
    nothing = torch.zeros_like(share)
    assert torch.equal(Tumours(share, nothing, nothing, nothing).labels() == Label.OEDEMA, share > EDGE)
    within = Tumours(torch.ones_like(share), share, nothing, nothing).labels()
    assert torch.equal(within == Label.NECROSIS, share > 0.5)


def test_a_front_takes_the_shortest_way_around_what_holds_it_up():
    start = torch.full((9, 9, 9), torch.inf)
    start[4, 4, 0] = 0.0
    free = front(start, torch.ones(9, 9, 9), 30)
    assert float(free[4, 4, 8]) == pytest.approx(8)
    assert float(free[8, 8, 4]) == pytest.approx(4 * math.sqrt(3), abs=1e-5)
    walled = torch.ones(9, 9, 9)
    walled[:, :7, 4] = 1000.0  # the way to the far end leads around it
    assert 8.5 < float(front(start, walled, 30)[4, 4, 8]) < 20
    assert torch.isinf(front(start, torch.ones(9, 9, 9), 3)[4, 4, 8])


def test_oedema_goes_along_white_matter_and_not_through_fluid():
    tissue = torch.zeros(3, 40, 40, 40)
    tissue[1] = 1.0  # grey
    tissue[:, 18:22], tissue[2, 18:22] = 0.0, 1.0  # a sheet of white matter
    tissue[:, 18:22, :, 30:], tissue[0, 18:22, :, 30:] = 0.0, 1.0  # ends in fluid
    places = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 3, indexing="ij"))
    depth = 6 - 2 * (places - 20).square().sum(0).sqrt()  # mm; a ball of 6 mm
    far = travel(Draw(3, spacing=2.0), tissue, depth, 60.0)
    along, across, fluid = far[20, 5, 20], far[35, 20, 20], far[20, 20, 35]
    assert float(along) < 0.7 * float(across)
    assert float(along) < 0.7 * float(fluid)
    assert float(far[20, 20, 20]) < 2


def test_oedema_hangs_together_with_its_core(brains):
    tissue = brains[0].tissue
    for seed in range(12):
        tumour = grow_one(Draw(seed, spacing=SPACING), tissue, tissue.sum(0) > 0.5, 1.0)
        core, whole = tumour.core > 0.5, tumour.labels() > 0
        near = pool(core.float()[None], 2 * math.ceil(60 / SPACING) + 1)[0] > 1e-6  # farther than any reach
        assert not (whole & ~near).any()


@pytest.mark.parametrize(("swollen", "covered"), [(1.0, True), (0.0, False)])
def test_swelling_effaces_sulci_and_leaves_ventricles(monkeypatch, swollen, covered):
    monkeypatch.setattr(tumours, "SWOLLEN", swollen)
    monkeypatch.setattr(tumours, "REACH", (0, 0, 0, 1))
    monkeypatch.setattr(tumours, "NONE_REACH", (0, 0, 0, 1))
    tissue = torch.zeros(3, 40, 40, 40)
    tissue[2] = 1.0
    for fluid in (slice(None, None, 6), slice(30, None)):  # thin sheets, and a wide space
        tissue[2, :, :, fluid], tissue[0, :, :, fluid] = 0.0, 1.0
    start = torch.zeros(40, 40, 40, dtype=torch.bool)
    start[20, 20, 20] = True
    shares = []
    for seed in range(5):
        whole = grow_one(Draw(seed, spacing=2.0), tissue, start, 1.0).whole > 0.5
        assert not whole[:, :, 33:].any()
        shares.append(float(whole[18:23, 18:23, 18].float().mean()))  # a sheet beside the middle
    assert (min(shares) > 0.9) if covered else (max(shares) == 0)


def test_moving_by_whole_voxels_moves_labels_and_tissue_alike(brains):
    brain = brains[0]
    labelled = Anatomy("one", brain.tissue, None, (brain.tissue[2] > 0.5).long())
    shift = torch.zeros(3, *brain.tissue.shape[1:])
    shift[1] = 2.0
    moved = apply(labelled, shift)
    assert torch.allclose(moved.tissue[:, :, :-2], brain.tissue[:, :, 2:], atol=1e-4)
    assert torch.equal(moved.labels[:, :-2], labelled.labels[:, 2:])
    assert torch.equal(flip(flip(labelled)).tissue, brain.tissue)


def test_real_brains_keep_their_tumour_and_get_tissue(brains):
    image, labels = simulate(1, brains, SPACING)
    real = from_images("real", image, labels, SPACING, SPACING)
    assert real.images is not None
    assert int((real.labels > 0).sum()) == int((labels > 0).sum())
    inside = real.tissue.sum(0) > 0
    assert int(inside.sum()) == int((image.abs().sum(0) > 0).sum())
    assert torch.allclose(real.tissue.sum(0)[inside], torch.ones(int(inside.sum())), atol=1e-3)
    assert (real.images[:, inside] > 0).all()
    white = real.images[:, (real.tissue[2] > 0.5) & (real.labels == 0)]
    assert torch.allclose(white.median(1).values, torch.ones(4), atol=0.05)
    kept = [simulate(seed, [real], SPACING)[1] for seed in range(6)]
    assert all((one > 0).any() for one in kept)


def test_tissue_of_real_brains_is_told_in_spite_of_a_bias_field_and_the_border():
    """Fluid is what is dark in T1 and bright in T2 inside of the brain, not what lies at its border."""
    places = torch.stack(torch.meshgrid(*[torch.arange(-20.0, 21.0)] * 3, indexing="ij"))
    far = places.square().sum(0).sqrt()
    kinds = torch.full(far.shape, 2)
    kinds[far > 13], kinds[far < 6] = 1, 0  # grey outside, white, fluid in the middle
    inside = far < 18
    means = {Modality.FLAIR: (0.3, 1.2, 1.0), Modality.T1: (0.3, 0.75, 1.0), Modality.T1CE: (0.3, 0.75, 1.0)}
    means[Modality.T2] = (3.0, 1.4, 1.0)
    images = torch.stack([torch.tensor(means[modality])[kinds] for modality in Modality])
    noise = torch.randn(far.shape, generator=torch.Generator().manual_seed(0))
    images = images * (100 * torch.exp(-0.5 * (places[0] / 20) ** 2) + noise) * inside
    border = inside & (pool(inside[None].float(), 3)[0] < 0.99)
    images[:, border] = images[:, border] * 0.3  # what a skull strip left
    told = classify_tissue(images, inside, torch.zeros_like(inside), 4.0).argmax(0)
    for kind in range(3):
        assert float((told == kind)[(kinds == kind) & inside & ~border].float().mean()) > 0.9, kind


def test_the_border_of_a_real_brain_is_as_bright_as_its_inside():
    image = torch.zeros(4, 21, 21, 21)
    image[:, 4:17, 4:17, 4:17] = 5.0  # an odd number of voxels: halves at the border
    brain = resample(cut((image[:1] > 0).float(), image[0] > 0, 1.0), 1.0, 2.0)[0]
    coarse = resample(cut(image, image[0] > 0, 1.0), 1.0, 2.0)
    carried = extend(coarse, brain)
    assert float(coarse[:, brain > 0.01].min()) < 1
    assert torch.allclose(carried[:, brain > 0.01], torch.tensor(5.0))
    assert not carried[:, 0, 0, 0].any()


def test_a_real_tumour_is_seen_also_where_its_brain_gets_drawn_contrasts(brains, monkeypatch):
    image, labels = simulate(1, brains[:1], SPACING)
    real = from_images("real", image, labels, SPACING, SPACING)
    monkeypatch.setattr(simulated_case, "grow_tumours", lambda draw, tissue, free: no_tumour(tissue[0]))
    ratios = []
    for seed in range(30):
        images, drawn = simulate(seed, [real], SPACING)
        oedema, brain = drawn == Label.OEDEMA, images[0] > 0
        if bool(oedema.any()):  # it was not healed
            around = (pool((drawn > 0).float()[None], 5)[0] > 0) & (drawn == 0) & brain
            ratios.append(float(images[0][oedema].median() / images[0][around].median()))
    assert 15 < len(ratios) < 30
    assert sum(ratio > 1.05 for ratio in ratios) > 0.9 * len(ratios)


def test_training_draws_anew_and_meta_cases_stay():
    split = simulated_split(training=3, meta=2, validation=1, seed=5)
    assert [len(split[part]) for part in ("training", "meta", "validation")] == [3, 2, 1]
    transform = RandSimulated(SPACING)
    fixed = split["meta"][0]
    assert torch.equal(transform(fixed)["image"], transform(fixed)["image"])
    assert split["meta"][0]["case_seed"] != split["validation"][0]["case_seed"]
    new = split["training"][0]
    first, second = transform.set_random_state(1)(new), transform(new)
    assert first["image"].shape != second["image"].shape or not torch.equal(first["image"], second["image"])
    assert torch.equal(transform.set_random_state(1)(new)["image"], first["image"])
    assert first["available"].all()
    assert first["label"].shape == (1, *first["image"].shape[1:])


def test_the_overlay_makes_cases_that_the_network_takes(tmp_path):
    configs = BUNDLE / "configs"
    parser = ConfigParser()
    parser.read_config([configs / "train.json", configs / "train_simulated.json"])
    parser.update({"spacing": [SPACING] * 3, "training_cases": 2, "num_workers": 0, "output_dir": str(tmp_path)})
    parser.update({"device": "cpu", "network_def#channels": [4, 8, 16]})
    dataset = parser.get_parsed_content("train#seeded_dataset")
    assert isinstance(dataset, SeededDataset)
    item = dataset[next(iter(StreamSampler(dataset)))]
    assert item["image"].dtype == torch.float32
    assert item["label"].shape == (3, *item["image"].shape[1:])
    brain = item["image"][0][item["image"][0] != 0]
    assert abs(float(brain.mean())) < 0.01
    assert abs(float(brain.std()) - 1) < 0.01
    logits = parser.get_parsed_content("network")(item["image"][None], item["available"][None])
    assert logits.shape[2:] == item["image"].shape[1:]
    assert parser.get_parsed_content("optimizer").__class__.__name__ == "AdamW"


def test_realistic_cohort_is_read_as_any_other(tmp_path):
    arguments = ["simulate", str(tmp_path / "cohort"), "--realistic", "--cases", "2", "--spacing", "6"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    cases = find_cases(tmp_path / "cohort")
    assert len(cases) == 2
    assert all(len(case.files) == 4 and case.label for case in cases)
    assert all(read_voxels(path).max() > 100 for path in cases[0].files.values())


def test_wrong_sources_are_named(tmp_path):
    with pytest.raises(UserError, match="no sri24_pbmap_csf_u8"):
        load_anatomies(SPACING, tmp_path)
    with pytest.raises(UserError, match="at least 1"):
        simulated_split(training=0)
    done = CliRunner().invoke(main, ["simulate", str(tmp_path / "c"), "--atlas", str(tmp_path)])
    assert done.exit_code == 2
    assert "without --realistic" in done.output
    assert not (tmp_path / "c").exists()
