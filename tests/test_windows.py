"""Windows that fit in memory, precision and mirroring."""

import logging
from importlib import import_module

import pytest
import torch
from test_inferers import Recorder, volume

from metakd_monai.apps.predict.predictor import Compute
from metakd_monai.data.memory_limit import BASE_BYTES, GIB, VOLUME_BYTES
from metakd_monai.errors import UserError, is_out_of_memory
from metakd_monai.inferers import MIRRORINGS, PRECISIONS, ModalityInferer, choose_precision, paste
from metakd_monai.inferers.memory import choose_roi, shrink
from metakd_monai.networks import MetaKDUNet
from metakd_monai.weights.load import OPTIMIZATIONS, optimize_network

CPU = torch.device("cpu")
command = import_module("metakd_monai.cli.predict")


def test_the_whole_box_is_one_window_where_memory_allows():
    assert choose_roi((140, 170, 150), (240, 240, 155), limit=64, per_voxel=500) == (144, 176, 160)


def test_windows_shrink_along_the_longest_axis_until_they_fit():
    limit = (BASE_BYTES + VOLUME_BYTES * 100**3 + 500 * 96 * 96 * 64) / GIB
    assert choose_roi((96, 112, 64), (100, 100, 100), limit, per_voxel=500) == (96, 96, 64)


def test_a_limit_that_no_window_keeps_is_refused_with_the_one_that_would_do():
    with pytest.raises(UserError, match=r"memory_limit: 0.1 GiB found; expected at least 1\.0 GiB"):
        choose_roi((140, 170, 150), (240, 240, 155), limit=0.1, per_voxel=500)


def test_the_smallest_window_is_not_made_smaller():
    assert shrink((48, 32, 32)) == (32, 32, 32)
    assert shrink((32, 32, 20)) is None


class Greedy(Recorder):
    """A network that runs out of memory on large windows."""

    def __init__(self, most, error):
        super().__init__()
        self.most, self.error = most, error

    def __call__(self, x, available):
        if x[0, 0].numel() > self.most:
            raise self.error
        return super().__call__(x, available)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_takes_smaller_windows_and_says_so(caplog, error):
    image = torch.rand(1, 4, 64, 40, 40) + 1
    with caplog.at_level(logging.WARNING):
        logits = ModalityInferer(mode="gaussian")(image, Greedy(48 * 40 * 40, error))
    torch.testing.assert_close(logits, image[:, :3] + 1)
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory: continuing with windows of 48x40x40",
    ]


@pytest.mark.parametrize(
    ("given", "of_weights", "expected"),
    [
        (None, None, "whole"),
        (None, (24, 32, 16), (24, 32, 16)),
        ("whole", (24, 32, 16), "whole"),
        (-1, (24, 32, 16), "whole"),
        ("16,24,32", (24, 32, 16), (16, 24, 32)),
        ([16, 24, 32], None, (16, 24, 32)),
        (48, None, (48, 48, 48)),
    ],
)
def test_the_window_is_that_of_the_weights_unless_another_is_given(given, of_weights, expected):
    network, image = MetaKDUNet(channels=(4, 8), window=of_weights).eval(), torch.rand(1, 4, 40, 36, 20) + 1
    inferer = ModalityInferer(given, memory_limit=4)
    assert inferer.window_for(network) == expected
    seen = []
    network.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    with torch.inference_mode():
        inferer(image, network)
    fitted = (40, 36, 20) if expected == "whole" else tuple(map(min, expected, (40, 36, 20)))
    assert set(seen) == {fitted}
    assert inferer.used == inferer.wanted == fitted
    assert inferer.describe_window() is None


@pytest.mark.parametrize("wrong", ["16,24", "a", [1, 2], 0, "0,1,2", [16, 16, "x"], 2.5])
def test_what_is_no_window(wrong):
    with pytest.raises(UserError, match=r"window: .* found; expected three numbers of voxels such as"):
        ModalityInferer(wrong)


def test_a_window_that_memory_makes_smaller_is_told():
    image = torch.rand(1, 4, 64, 40, 40) + 1
    inferer = ModalityInferer(mode="gaussian")
    inferer(image, Greedy(48 * 40 * 40, MemoryError()))
    assert (inferer.used, inferer.wanted) == ((48, 40, 40), (64, 40, 40))
    expected = "computed in windows of 48x40x40 voxels instead of 64x40x40 for lack of memory, which changes the mask"
    assert inferer.describe_window() == expected


def test_other_errors_and_memory_that_never_suffices_are_raised():
    image = torch.rand(1, 4, 64, 40, 40) + 1
    with pytest.raises(RuntimeError, match="something else"):
        ModalityInferer()(image, Greedy(0, RuntimeError("something else")))
    with pytest.raises(MemoryError):
        ModalityInferer()(image, Greedy(0, MemoryError()))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_limit_of_memory_makes_windows_for_the_network_at_hand():
    network = MetaKDUNet(channels=(4, 8, 16)).eval()
    seen = []
    network.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[2:])))
    image = torch.rand(1, 4, 64, 48, 48) + 1
    per_voxel = network.bytes_per_voxel()
    limit = (BASE_BYTES + VOLUME_BYTES * 64 * 48 * 48 + per_voxel * 48**3) / GIB
    with torch.inference_mode():
        ModalityInferer(memory_limit=limit)(image, network)
    assert set(seen) == {(48, 48, 48)}


def test_wider_networks_need_more_memory():
    assert MetaKDUNet().bytes_per_voxel() < MetaKDUNet(channels=(16, 32, 64, 128, 256)).bytes_per_voxel()


@pytest.mark.parametrize(("mirror", "passes"), [("none", 1), ("lr", 2), ("all", 8)])
def test_mirroring_is_the_mean_over_flips(mirror, passes):
    image = volume()
    weight = torch.rand(4, 4, 4)

    class Uneven(Recorder):
        def __call__(self, x, available):
            return super().__call__(x, available) * weight

    network = Uneven()
    found = ModalityInferer(margin=0, mirror=mirror)(image, network)[:, :, 4:8, 4:8, 4:8]
    assert len(network.calls) == passes
    flips = {"none": [()], "lr": [(), (0,)], "all": [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]}[mirror]
    mean = torch.stack([weight.flip(flip) for flip in flips]).mean(0)
    torch.testing.assert_close(found, (image[:, :3, 4:8, 4:8, 4:8] + 1) * mean)


def test_bf16_is_close_to_fp32_and_gives_fp32():
    network = MetaKDUNet(channels=(4, 8, 16)).eval()
    image = torch.rand(1, 4, 16, 16, 16) + 1
    with torch.inference_mode():
        full = ModalityInferer(precision="fp32")(image, network)
        half = ModalityInferer(precision="bf16")(image, network)
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    assert (half - full).abs().max() < 0.1 * full.abs().max()


@pytest.mark.parametrize(("flags", "expected"), [({}, "fp32"), ({"avx512_bf16": True}, "bf16"), ({"avx2": 1}, "fp32")])
def test_auto_precision_goes_by_what_the_cpu_has(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert choose_precision("auto", CPU) == expected
    assert choose_precision("fp32", CPU) == "fp32"


@pytest.mark.parametrize("arguments", [{"precision": "fp8"}, {"mirror": "up"}])
def test_unknown_names(arguments):
    name, value = next(iter(arguments.items()))
    with pytest.raises(UserError, match=f"{name}: '{value}' found; expected one of"):
        ModalityInferer(**arguments)


def test_paste_puts_a_box_into_its_volume():
    box = (slice(1, 3), slice(0, 2), slice(2, 4))
    whole = paste(torch.ones(1, 2, 2, 2, 2), box, (4, 4, 4), outside=-1)
    assert whole[:, :, 1:3, 0:2, 2:4].eq(1).all()
    assert whole.eq(1).sum() == 16
    assert whole.eq(-1).sum() == 2 * 64 - 16


def test_optimizing_changes_rounding_only():
    network, image = MetaKDUNet(channels=(4, 8, 16)).eval(), torch.rand(1, 4, 16, 16, 16)
    available = torch.tensor([[True, False, True, True]])
    with torch.inference_mode():
        plain = optimize_network(network, "none")(image, available)
        found = optimize_network(network, "auto")(image, available)
    assert network.encoder[0].conv1.conv.weight.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)
    with pytest.raises(UserError, match="optimize: 'fast' found; expected one of auto, none, compile"):
        optimize_network(network, "fast")


@pytest.mark.slow
def test_a_compiled_network_is_the_same_up_to_rounding():
    network, image = MetaKDUNet(channels=(4, 8, 16)).eval(), torch.rand(1, 4, 16, 16, 16)
    available = torch.tensor([[True, False, True, True]])
    with torch.inference_mode():
        plain = network(image, available)
        found = optimize_network(network, "compile")(image, available)
    torch.testing.assert_close(found, plain, atol=1e-4, rtol=1e-4)


def test_names_of_the_command_line_are_those_of_the_modules():
    assert command.PRECISIONS == PRECISIONS
    assert tuple(MIRRORINGS) == import_module("metakd_monai.cli.base").MIRRORINGS
    assert command.OPTIMIZATIONS == OPTIMIZATIONS
    assert set(command.COMPUTE) <= set(Compute.__dataclass_fields__)
