from itertools import islice
from pathlib import Path

import pytest
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, RandomizableTransform, Transform

from metakd_monai.data.stream import SeededDataset, StreamSampler, files_in, make_dataset, seed_of
from metakd_monai.errors import UserError


def dataset(size=5):
    return CacheDataset([torch.tensor([float(i)]) for i in range(size)], Compose([RandomAdd()]), progress=False)


class RandomAdd(RandomizableTransform):
    """Adds a number drawn from the transform's own generator."""

    def __call__(self, data):
        return data + self.R.random_sample()


def take(sampler, number):
    return list(islice(iter(sampler), number))


def test_each_pass_visits_every_case_once_in_a_new_order():
    draws = [index for index, _ in take(StreamSampler(range(5), seed=1), 15)]
    passes = [tuple(draws[i : i + 5]) for i in (0, 5, 10)]
    assert all(sorted(p) == [0, 1, 2, 3, 4] for p in passes)
    assert len(set(passes)) > 1


def test_every_draw_has_its_own_seed():
    seeds = [seed for _, seed in take(StreamSampler(range(5), seed=1), 50)]
    assert len(set(seeds)) == 50


def test_seek_enters_the_stream_in_the_middle():
    sampler = StreamSampler(range(5), seed=1, batch_size=2)
    whole = take(sampler, 12)
    sampler.seek(3)
    assert take(sampler, 6) == whole[6:]


def test_ranks_share_the_stream_out():
    whole = take(StreamSampler(range(5), seed=1, batch_size=4), 8)
    parts = [take(StreamSampler(range(5), seed=1, batch_size=2, rank=r, num_replicas=2), 4) for r in (0, 1)]
    assert [draw for pair in zip(*parts, strict=True) for draw in pair] == whole


def test_one_pass_that_is_not_endless():
    sampler = StreamSampler(range(3), seed=1, endless=False)
    first = list(sampler)
    assert sorted(index for index, _ in first) == [0, 1, 2]
    sampler.seek(1)
    second = list(sampler)
    assert sorted(index for index, _ in second) == [0, 1, 2]
    assert first != second
    assert len(sampler) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_drawn_depends_on_neither_workers_nor_interruptions(workers):
    data = SeededDataset(dataset())
    sampler = StreamSampler(data, seed=1, batch_size=2)
    reference = [data[draw].item() for draw in take(sampler, 8)]
    loader = DataLoader(data, sampler=sampler, batch_size=2, num_workers=workers)
    batches = [x for batch in islice(loader, 4) for x in batch.flatten().tolist()]
    assert batches == pytest.approx(reference)
    sampler.seek(2)
    resumed = [x for batch in islice(loader, 2) for x in batch.flatten().tolist()]
    assert resumed == pytest.approx(reference[4:])


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="no cases"):
        StreamSampler([])


def test_seed_of_mixes():
    assert seed_of(1, 2) == seed_of(1, 2)
    assert len({seed_of(a, b) for a in range(10) for b in range(10)}) == 100


class ReadText(Transform):
    """Reads a file, scales its number, and counts how often it did."""

    read = 0

    def __init__(self, factor=1):
        self.factor = factor

    def __call__(self, data):
        ReadText.read += 1
        return {"value": torch.tensor(float(Path(data["image"][0]).read_text()) * self.factor)}


@pytest.fixture
def items(tmp_path):
    path = tmp_path / "one.txt"
    path.write_text("3")
    ReadText.read = 0
    return [{"image": [str(path)], "case_id": "one"}]


def test_memory_and_disk_hold_the_same(items, tmp_path):
    memory = make_dataset(items, Compose([ReadText()]), cache_num=1)
    disk = make_dataset(items, Compose([ReadText()]), cache_dir=tmp_path / "cache")
    assert memory[0]["value"] == disk[0]["value"] == 3
    assert ReadText.read == 2
    assert memory[0]["value"] == disk[0]["value"] == 3
    assert ReadText.read == 2  # neither read again


def test_what_is_on_disk_goes_with_the_preprocessing_and_the_file(items, tmp_path):
    def value(factor):
        return float(make_dataset(items, Compose([ReadText(factor)]), cache_dir=tmp_path / "cache")[0]["value"])

    assert [value(1), value(1), value(2), value(1)] == [3, 3, 6, 3]
    assert ReadText.read == 2
    Path(items[0]["image"][0]).write_text("45")
    assert value(1) == 45


def test_files_in_an_item_at_any_depth(items, tmp_path):
    path = items[0]["image"][0]
    nested = {"image": {"flair": path}, "label": path, "case_id": "one", "fold": 0}
    assert [str(p) for p in files_in(nested)] == [path, path]


def test_what_the_user_can_mend_comes_out_unwrapped():
    class Refuse(Transform):
        def __call__(self, data):
            raise UserError("x.nii.gz: damaged")

    with pytest.raises(UserError, match=r"^x\.nii\.gz: damaged$"):
        SeededDataset(make_dataset([{"image": "x"}], Compose([Refuse()])))[0, 1]
