"""Mixed precision, accumulation, compilation, augmentation on the device, times: each takes effect, and resumes."""

import pytest
import torch
from ignite.engine import Engine
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, RandFlipd, RandGaussianNoised, RandScaleIntensityd, RandSpatialCropd
from test_training import Run, rows

from metakd_monai.bundle.options import set_up_randomness, switch
from metakd_monai.data.stream import SeededDataset, StreamSampler
from metakd_monai.engines.trainer import MetaKDTrainer
from metakd_monai.errors import UserError
from metakd_monai.handlers import AugmentHandler, ScalarLogHandler, TimingReader

NEVER = 10**9


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_amp_runs_the_network_in_that_precision_and_the_loss_in_fp32(tmp_path, name, dtype):
    run = Run(tmp_path, max_iterations=1, meta_interval=NEVER, amp=True, amp_dtype=name)
    seen, lost = [], []
    run.network.encoder[0].conv1.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    task_loss = run.trainer.task_loss
    run.trainer.task_loss = lambda logits, label: lost.append(logits.dtype) or task_loss(logits, label)
    run.trainer.run()
    assert seen[-1] == dtype  # the meta step came before, in fp32
    assert lost == [torch.float32]
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}
    assert (run.trainer.scaler is not None) == (name == "fp16")


def test_a_run_in_fp16_goes_on_with_its_loss_scale(tmp_path):
    torch.set_num_threads(1)
    options = {"max_iterations": 4, "amp": True, "amp_dtype": "fp16", "meta_interval": NEVER}
    whole = Run(tmp_path / "whole", **options)
    whole.trainer.scaler.set_growth_interval(1)
    whole.trainer.run()
    first = Run(tmp_path / "parts", **{**options, "max_iterations": 2})
    first.trainer.scaler.set_growth_interval(1)
    first.trainer.run()
    saved = torch.load(tmp_path / "parts" / "checkpoint.pt", weights_only=True)["inner"]["scaler"]
    assert saved == first.trainer.scaler.state_dict() != torch.amp.GradScaler("cpu").state_dict()
    second = Run(tmp_path / "parts", **options)
    second.trainer.run()
    assert second.trainer.scaler.state_dict() == whole.trainer.scaler.state_dict()
    assert first.losses + second.losses == whole.losses


def test_accumulated_batches_move_the_network_as_one_batch(tmp_path):
    common = {"meta_interval": NEVER, "lr_period": NEVER}
    large = Run(tmp_path / "large", max_iterations=2, **common)
    parts = Run(tmp_path / "parts", max_iterations=4, batch_size=1, epoch_length=6, accumulation_steps=2, **common)
    large.trainer.run()
    parts.trainer.run()
    assert [row for batch in parts.available for row in batch] == [row for batch in large.available for row in batch]
    for name, value in large.network.state_dict().items():
        torch.testing.assert_close(parts.network.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop", [3, 4])
def test_a_run_that_was_stopped_between_accumulated_batches_goes_on_to_the_last_bit(tmp_path, stop):
    torch.set_num_threads(1)
    options = {"epoch_length": 6, "accumulation_steps": 2}
    whole = Run(tmp_path / "whole", max_iterations=6, **options)
    whole.trainer.run()
    first = Run(tmp_path / "parts", max_iterations=stop, **options)
    first.trainer.run()
    second = Run(tmp_path / "parts", max_iterations=6, **options)
    second.trainer.run()
    assert first.losses + second.losses == whole.losses


def test_options_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UserError, match="amp_dtype: 'fp8' found; expected bf16 or fp16"):
        Run(tmp_path, amp_dtype="fp8")
    for steps in (0, "2"):
        with pytest.raises(UserError, match=f"accumulation_steps: {steps!r} found; expected a whole number"):
            Run(tmp_path, accumulation_steps=steps)
    with pytest.raises(UserError, match="amp: 'yes' found; expected true or false"):
        switch("yes", "amp")
    assert [switch(value) for value in (True, "True", "true", False, "False", "false")] == 3 * [True] + 3 * [False]


def test_compile_compiles(tmp_path):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    plain = Run(tmp_path / "plain", max_iterations=1)
    compiled = Run(tmp_path / "compiled", max_iterations=1, compile=True, compile_kwargs={"backend": backend})
    plain.trainer.run()
    compiled.trainer.run()
    assert graphs
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-5)
    assert set(torch.load(tmp_path / "compiled" / "model.pt")) == set(torch.load(tmp_path / "plain" / "model.pt"))


def test_deterministic_mode():
    try:
        set_up_randomness(3, deterministic=True)
        first = torch.rand(2)
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        set_up_randomness(3)
        assert torch.equal(torch.rand(2), first)
        assert not torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False


def test_what_is_augmented_on_the_device_is_what_the_loader_would_have_made():
    keys = ["image", "label"]
    crop = [RandSpatialCropd(keys, (6, 6, 6), random_size=False)]
    late = [
        RandFlipd(keys, prob=0.5, spatial_axis=0),
        RandGaussianNoised("image", prob=0.5),
        RandScaleIntensityd("image", 0.5, prob=0.8),
    ]
    items = [{"image": torch.randn(4, 8, 8, 8), "label": torch.rand(3, 8, 8, 8).round()} for _ in range(3)]

    def batches(transforms, seed_key):
        data = SeededDataset(CacheDataset(items, Compose(transforms), progress=False), seed_key)
        loader = iter(DataLoader(data, sampler=StreamSampler(data, 1, 2), batch_size=2))
        return [next(loader) for _ in range(3)]

    engine = Engine(lambda engine, batch: None)
    engine.state.device = torch.device("cpu")
    handler = AugmentHandler(Compose(crop + late), start=1)
    for whole, cropped in zip(batches(crop + late, None), batches(crop, "seed"), strict=True):
        engine.state.batch = cropped
        assert not torch.equal(cropped["image"], whole["image"])
        handler(engine)
        for key in keys:
            assert torch.equal(torch.as_tensor(cropped[key]), torch.as_tensor(whole[key]))


def test_waiting_for_data_is_told_from_work(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ignite.handlers.timing.perf_counter", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    def data():
        for number in range(4):
            wait(1)
            yield number

    engine = Engine(lambda engine, batch: wait(3))
    timing = TimingReader()
    timing.attach(engine)
    ScalarLogHandler(tmp_path, "timing", timing, interval=2).attach(engine)
    engine.run(data(), epoch_length=4)
    assert [list(map(float, row.values())) for row in rows(tmp_path / "timing.csv")] == [
        [2, 2, 6, 0.25],
        [4, 2, 6, 0.25],
    ]


def test_the_trainer_takes_an_inferer(tmp_path):
    called = []

    def inferer(inputs, network, *args, **kwargs):
        called.append(len(inputs))
        return network(inputs, *args, **kwargs)

    run = Run(tmp_path, max_iterations=1, inferer=inferer)
    assert isinstance(run.trainer, MetaKDTrainer)
    run.trainer.run()
    assert called == [2]
