import pickle
from itertools import islice

import pytest
import torch

from classification.data.class_folders import list_folder
from classification.data.data_sets import DataConfig
from classification.data.encoded_pictures import EncodedPictures
from classification.data.labelled_batches import Batch, evaluation_batches, training_batches
from foundation.errors import UserError
from training.config import RunConfig
from training.loader import Item
from training.optim import OptimConfig


@pytest.fixture
def pictures(folder_root):
    config = DataConfig(kind="folder", image_size=8, resize=10)
    return EncodedPictures(list_folder(folder_root, "train"), config, training=True)


def first(pictures, count, *, batch_size=5, accumulate=1, workers=0, start_step=0, seed=0):
    optim = OptimConfig(batch_size=batch_size, accumulate=accumulate)
    run = RunConfig(workers=workers, seed=seed)
    return list(islice(training_batches(pictures, optim, run, start_step), count))


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert a.ids == b.ids
        for name in ("images", "labels", "seeds"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_workers_change_nothing(pictures):
    assert_equal(first(pictures, 6, workers=0), first(pictures, 6, workers=2))


def test_the_seed_changes_order_and_crops(pictures):
    ours, theirs = first(pictures, 2, seed=0), first(pictures, 2, seed=1)
    assert ours[0].ids != theirs[0].ids
    assert not set(ours[0].seeds.tolist()) & set(theirs[0].seeds.tolist())


def test_a_resumed_run_goes_on_with_the_next_batch(pictures):
    assert_equal(first(pictures, 6)[4:], first(pictures, 2, start_step=4))


def test_micro_batches_are_the_batch_cut_up(pictures):
    whole, parts = first(pictures, 1, batch_size=6)[0], first(pictures, 3, batch_size=6, accumulate=3)
    assert [len(part.labels) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images)


def test_processes_share_the_batch(pictures, monkeypatch):
    whole = first(pictures, 1, batch_size=6)[0]
    monkeypatch.setenv("WORLD_SIZE", "2")
    shares = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        shares.append(first(pictures, 1, batch_size=6)[0])
    assert torch.equal(torch.cat([share.images for share in shares]), whole.images)


@pytest.mark.parametrize("processes", [1, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_sees_every_picture_once(pictures, monkeypatch, processes, workers):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    seen = []
    for rank in range(processes):
        monkeypatch.setenv("RANK", str(rank))
        batches = list(evaluation_batches(pictures, 4, workers))
        assert all(1 <= len(batch.ids) <= 4 for batch in batches)
        seen += [name for batch in batches for name in batch.ids]
    assert seen == [pictures.reader.name(i) for i in range(12)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_stops_with_its_message_alone(pictures, folder_root, workers):
    path = folder_root / "train" / "bee" / "2.png"
    path.write_bytes(b"")
    with pytest.raises(UserError) as caught:
        list(evaluation_batches(pictures, 4, workers))
    assert str(caught.value).startswith(f"{path}: the file is empty")
    assert "\n" not in str(caught.value), "DataLoader's traceback must not be in it"


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_generator_alone(pictures, workers):
    before = torch.get_rng_state()
    first(pictures, 2, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_go_to_workers_that_are_not_forked(pictures):
    items = [Item(0, 1), Item(7, 2)]
    assert_equal([pickle.loads(pickle.dumps(pictures.read))(items)], [pictures.read(items)])


def test_moving_a_batch_keeps_its_names(pictures):
    batch = first(pictures, 1)[0]
    moved = batch.to("meta")
    assert {moved.images.device.type, moved.labels.device.type, moved.seeds.device.type} == {"meta"}
    assert moved.ids == batch.ids


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_pictures_are_reported_once_and_counted(folder_root, caplog, workers):
    paths = [folder_root / "train" / name for name in ("bee/2.png", "cow/0.png")]
    for path in paths:
        path.write_bytes(b"")
    config = DataConfig(kind="folder", image_size=8, resize=10, broken="skip")
    broken = EncodedPictures(list_folder(folder_root, "train"), config, training=True)
    batches = first(broken, 6, batch_size=4, workers=workers)  # two epochs of 12
    assert [len(batch.ids) for batch in batches] == [4] * 6
    assert sum(len(batch.skipped) for batch in batches) == 4
    caplog.clear()
    stream = training_batches(broken, OptimConfig(batch_size=4), RunConfig(workers=workers), 0)
    list(islice(stream, 6))
    reported = [record.getMessage() for record in caplog.records]
    assert len(reported) == 2 and all(str(path) in "".join(reported) for path in paths)
    assert reported[1].startswith("left out of training, number 2: ")
    stream.close()
    assert caplog.records[-1].getMessage() == "2 broken pictures were left out, 4 times in all"


@pytest.mark.parametrize(("world_size", "accumulate"), [(2, 1), (1, 3), (6, 1)])
def test_broken_pictures_weigh_alike_in_any_split(folder_root, monkeypatch, world_size, accumulate):
    """A step has the same pictures in equal parts, so the mean over the parts is that over the pictures."""
    for name in ("bee/2.png", "bee/3.png", "cow/0.png"):
        (folder_root / "train" / name).write_bytes(b"")
    config = DataConfig(kind="folder", image_size=8, resize=10, broken="skip")
    broken = EncodedPictures(list_folder(folder_root, "train"), config, training=True)
    whole = first(broken, 4, batch_size=6)
    monkeypatch.setenv("WORLD_SIZE", str(world_size))
    shares = []
    for rank in range(world_size):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(first(broken, 4 * accumulate, batch_size=6, accumulate=accumulate))
    for step, batch in enumerate(whole):
        parts = [part for share in shares for part in share[step * accumulate : (step + 1) * accumulate]]
        assert {len(part.ids) for part in parts} == {6 // world_size // accumulate}
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.cat([part.seeds for part in parts]).tolist() == batch.seeds.tolist()
        assert [problem for part in parts for problem in part.skipped] == batch.skipped


def test_a_batch_of_pictures_that_are_in_order_reports_nothing(pictures, caplog):
    assert all(batch.skipped == [] for batch in first(pictures, 3))
    assert caplog.records == []
