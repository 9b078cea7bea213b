"""The bundle's preprocessing, inferer and postprocessing, called as MONAI Label 0.8.5 and MONAI Deploy 4.0.0 call them.

The systems themselves run under the marker ``deployment``, where a first run of the script has set up its environment.
"""

import json
import os
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
import torch
from conftest import BUNDLE, CHANNELS, REPOSITORY
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import MapTransform, SaveImaged
from test_predict import predict

from metakd_monai.apps.predict.expectations import FILE
from metakd_monai.apps.predict.label_processing import PostProcessLabelsd
from metakd_monai.data.cases import find_cases
from metakd_monai.data.files import checksum
from metakd_monai.errors import UserError
from metakd_monai.networks import MetaKDUNet, find_available
from metakd_monai.transforms import LoadImageModalitiesd
from metakd_monai.vocabulary import Modality

LACKING = Modality.T1CE


@pytest.fixture(params=["LPS", "RAS", "SAL"])
def case(request, cohort, tmp_path):
    """The files of a case, its axes in several orders, and the mask of ``metakd predict`` without T1ce."""
    first = find_cases(cohort)[0]
    folder = tmp_path / "case"
    folder.mkdir()
    target = nib.orientations.axcodes2ornt(request.param)
    for modality, path in first.files.items():
        image = nib.load(path)
        turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
        nib.save(image.as_reoriented(turn), folder / f"case_{modality.value}.nii.gz")
    return folder


@pytest.fixture
def weights(cohort, network, tmp_path):
    """Untrained weights whose masks hold every label: each region is where its logit is above the upper third."""
    image = LoadImageModalitiesd()(find_cases(cohort)[0].as_item())["image"].as_tensor()[None]
    with torch.no_grad():
        logits = network.eval()(image)[0]
        network.heads[0].conv.bias -= torch.quantile(logits.flatten(1), 0.66, dim=1)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.fixture
def expected(case, weights, tmp_path):
    others = ",".join(m.value for m in Modality if m is not LACKING)
    options = ["--modalities", others, "--et-label", "3", "--no-preview"]
    result = predict(case, tmp_path / "out", weights, *options)
    assert result.exit_code == 0, result.output
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    assert set(np.unique(mask.dataobj)) == {0, 1, 2, 3}
    return mask


def stack(case, value=0.0):
    """Return the case as one 4-D image, channels last, with all of one channel replaced."""
    images = [nib.load(case / f"case_{m.value}.nii.gz") for m in Modality]
    voxels = np.stack([np.asarray(image.dataobj, np.float32) for image in images], axis=-1)
    voxels[..., list(Modality).index(LACKING)] = value
    return nib.Nifti1Image(voxels, images[0].affine)


def load_bundle(weights):
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.json")
    parser["bundle_root"] = str(BUNDLE)
    parser["weights"] = str(weights)
    parser["network_def#channels"] = list(CHANNELS)
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    return parser, network.eval()


def as_label(source, weights):
    """Follow MONAI Label's BundleInferTask; return what it writes: labels and affine."""
    parser, network = load_bundle(weights)
    data = {"image": source, "model": "brats", "device": "cpu"}
    for transform in parser.get_parsed_content("preprocessing").transforms:
        data = transform(data)
    with torch.no_grad():
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
    transforms = parser.get_parsed_content("postprocessing").transforms
    for transform in [t for t in transforms if not isinstance(t, SaveImaged)]:
        data = transform(data)
    meta = data["image"].meta
    assert data["pred"].shape[1:] == tuple(meta["spatial_shape"])  # or Label would resize the mask
    return data["pred"], meta["original_affine"]


def as_deploy(image, weights):
    """Follow MONAI Deploy's MonaiBundleInferenceOperator on an Image, channels last."""
    parser, network = load_bundle(weights)
    before, after = (parser.get_parsed_content(name) for name in ("preprocessing", "postprocessing"))
    for compose in (before, after):
        names = [(t, type(t).__name__) for t in compose.transforms]
        compose.transforms = tuple(t for t, name in names if "LoadImage" not in name and "SaveImage" not in name)
        assert isinstance(compose.transforms[0], MapTransform)  # or Deploy would apply it to each item
    meta = {"original_channel_dim": -1, "affine": image.affine, "original_affine": image.affine}
    value = MetaTensor.ensure_torch_and_prune_meta(np.asarray(image.dataobj), meta)
    inputs = before({"image": value})
    with torch.no_grad():
        pred = parser.get_parsed_content("inferer")(inputs=inputs["image"][None], network=network)
    return after({"pred": pred[0], **inputs})["pred"]


@pytest.mark.parametrize("absent", [0.0, np.nan], ids=["zero", "nan"])
def test_label_s_chain_on_an_upload_with_an_empty_channel(case, expected, weights, tmp_path, absent):
    nib.save(stack(case, absent), tmp_path / "stack.nii.gz")
    labels, affine = as_label(str(tmp_path / "stack.nii.gz"), weights)
    assert labels.shape[0] == 1
    assert labels.dtype == torch.uint8
    assert np.array_equal(labels[0], expected.dataobj)
    np.testing.assert_allclose(affine, expected.affine)


@pytest.mark.parametrize("form", ["folder", "list"])
def test_label_s_chain_on_three_files(case, expected, weights, form):
    (case / f"case_{LACKING.value}.nii.gz").unlink()
    source = str(case) if form == "folder" else sorted(map(str, case.iterdir()))
    assert np.array_equal(as_label(source, weights)[0][0], expected.dataobj)


@pytest.mark.parametrize("absent", [0.0, np.nan], ids=["zero", "nan"])
def test_deploy_s_chain_on_an_image_with_an_empty_channel(case, expected, weights, absent):
    labels = as_deploy(stack(case, absent), weights)
    assert labels.shape[0] == 1
    assert labels.dtype == torch.uint8
    assert np.array_equal(labels[0], expected.dataobj)


@pytest.mark.parametrize("rule", ["components:voxels=0,share=1.0", "small_et:threshold=10000000,target=1"])
def test_all_take_the_rule_that_goes_with_the_weights(case, weights, tmp_path, rule):
    others = ",".join(m.value for m in Modality if m is not LACKING)
    content = {"weights_sha256": checksum(weights), "postprocessing": rule}
    weights.with_name(FILE).write_text(json.dumps(content))
    masks = {}
    for name, options in (("as is", ["--postprocessing", "none"]), ("auto", [])):
        asked = ["--modalities", others, "--et-label", "3", "--no-preview", *options]
        result = predict(case, tmp_path / name, weights, *asked)
        assert result.exit_code == 0, result.output
        masks[name] = np.asarray(nib.load(tmp_path / name / "case.nii.gz").dataobj)
    assert json.loads((tmp_path / "auto" / "case.json").read_text())["settings"]["postprocessing"] == rule
    assert not np.array_equal(masks["as is"], masks["auto"])
    assert np.array_equal(as_deploy(stack(case), weights)[0], masks["auto"])
    nib.save(stack(case), tmp_path / "stack.nii.gz")
    assert np.array_equal(as_label(str(tmp_path / "stack.nii.gz"), weights)[0][0], masks["auto"])


def test_a_rule_that_an_axis_matters_to_is_refused(weights):
    with pytest.raises(UserError, match="metakd found; expected a rule that does not depend on axes"):
        PostProcessLabelsd("pred", weights, rule="metakd")


def test_normalisation_leaves_absence_as_it_is(case, weights):
    parser, _ = load_bundle(weights)
    inputs = parser.get_parsed_content("preprocessing")({"image": stack_first(case)})
    assert find_available(inputs["image"][None]).tolist() == [[m is not LACKING for m in Modality]]


def stack_first(case):
    """Return the stack as an array, channels first, as callers in Python may hand it over."""
    image = stack(case)
    return MetaTensor(np.moveaxis(np.asarray(image.dataobj), -1, 0), affine=image.affine)


def test_weights_of_another_network_are_refused_even_without_strict(network):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match=r"found no encoder.* expected the weights of this MetaKDUNet"):
        network.load_state_dict(state, strict=False)


@pytest.mark.parametrize("system", ["label", "deploy"])
def test_both_build_the_network_of_the_weights_that_the_bundle_ships(system, tmp_path, monkeypatch):
    shipped = MetaKDUNet(channels=(4, 8, 12), input_stride=2)
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle", ignore=shutil.ignore_patterns("models"))
    (bundle / "models").mkdir()
    torch.save({name: fp16(value) for name, value in shipped.state_dict().items()}, bundle / "models" / "model.pt")
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    if system == "label":
        parser["bundle_root"] = str(bundle)
    else:
        monkeypatch.syspath_prepend(str(bundle))
    network = parser.get_parsed_content("network_def" if system == "label" else "network")
    network.load_state_dict(torch.load(bundle / "models" / "model.pt"), strict=system == "deploy")
    assert (network.channels, network.pooling) == ((4, 8, 12), 2)
    for name, value in network.state_dict().items():
        assert torch.equal(value.cpu(), fp16(shipped.state_dict()[name]).to(value.dtype))


def fp16(value):
    return value.half() if value.is_floating_point() else value


@pytest.mark.deployment
@pytest.mark.parametrize(
    ("system", "name"), [("label", "try_monai_label.sh"), ("deploy", "try_monai_deploy.sh"), ("pacs", "try_pacs.sh")]
)
def test_the_real_system(system, name):
    script = REPOSITORY / "scripts" / "deploy" / name
    default = REPOSITORY / ".deployment" / f"{system}-env"
    environment = os.environ.get(f"{system.upper()}_ENV", str(default))
    if not os.path.exists(os.path.join(environment, "installed")):
        pytest.skip(f"no environment at {environment}: run scripts/deploy/{script.name} once")
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "done"
