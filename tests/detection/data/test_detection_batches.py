from collections.abc import Callable
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import (
    PreparedPictures,
    Sample,
    aspect_groups,
    collate,
    evaluation_batches,
    training_batches,
)
from detection.types import Batch
from foundation.errors import UserError
from pictures.decoding import load_image
from training.loader import Item, evaluation_shard


def sample(height: int, width: int, boxes: int) -> Sample:
    return Sample(
        image=torch.full((3, height, width), 200, dtype=torch.uint8),
        scale=(2.0, 0.5),
        boxes=torch.arange(4.0 * boxes).reshape(boxes, 4) + 1,
        labels=torch.arange(boxes) + 1,
        seed=2**63 - 1,
        id=f"{height}x{width}",
    )


def assert_equal(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
            assert torch.equal(left, right), field.name
        else:
            assert left == right, field.name


def test_collate_pads():
    # Heights 33 and 10 to 64, widths 20 and 40 to 64; 1 and 9 boxes to 16.
    batch = collate([sample(33, 20, 1), sample(10, 40, 9)])
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.images.sum().item() == 200 * 3 * (33 * 20 + 10 * 40)
    assert batch.images[1, :, :10, :40].eq(200).all()
    assert batch.sizes.tolist() == [[33, 20], [10, 40]]
    assert batch.scales.tolist() == [[2.0, 0.5]] * 2
    assert batch.boxes.shape == (2, 16, 4)
    assert batch.boxes[0, :2].tolist() == [[1, 2, 3, 4], [0, 0, 0, 0]]
    assert batch.labels[1].tolist() == [*range(1, 10), *[0] * 7]
    assert (batch.valid.sum(1).tolist(), batch.valid[1, :9].all().item()) == ([1, 9], True)
    assert (batch.seeds.tolist(), batch.ids) == ([2**63 - 1] * 2, ["33x20", "10x40"])
    assert (batch.images.dtype, batch.sizes.dtype, batch.scales.dtype) == (
        torch.uint8, torch.int64, torch.float32,
    )  # fmt: skip
    assert (batch.boxes.dtype, batch.labels.dtype, batch.valid.dtype) == (
        torch.float32, torch.int64, torch.bool,
    )  # fmt: skip


def test_collate_pads_masks():
    # Widths 20 and 40 are 3 and 5 bytes, padded to 64 / 8; objects 1 and 9 to 16.
    one, other = sample(33, 20, 1), sample(10, 40, 9)
    ones = [torch.full((1, 33, 3), 255, dtype=torch.uint8), torch.full((9, 10, 5), 255, dtype=torch.uint8)]
    masks = collate([one._replace(masks=ones[0]), other._replace(masks=ones[1])]).masks
    assert masks is not None
    assert (masks.shape, masks.dtype) == ((2, 16, 64, 8), torch.uint8)
    assert masks[0, :1, :33, :3].eq(255).all() and masks[1, :9, :10, :5].eq(255).all()
    assert masks.count_nonzero() == 33 * 3 + 9 * 10 * 5
    assert collate([one]).masks is None


@pytest.mark.parametrize(("count", "slots"), [(0, 8), (1, 8), (8, 8), (9, 16)])
def test_collate_rounds_boxes_up(count: int, slots: int):
    batch = collate([sample(32, 1, count)])
    assert batch.boxes.shape == (1, slots, 4)
    assert batch.images.shape == (1, 3, 32, 32)
    assert batch.valid.sum() == count


def test_aspect_groups(coco_content: dict[str, Any], write_coco: Callable[..., Path]):
    for image, (height, width) in zip(coco_content["images"], [(4, 6), (6, 4), (5, 5)], strict=True):
        image.update(height=height, width=width)
    path = write_coco(coco_content)
    assert aspect_groups(CocoDataset(path, path.parent)) == [1, 0, 1]


def test_training_batches_hold_one_aspect(val: CocoDataset):
    group_of = dict(zip(map(str, val.image_ids), aspect_groups(val), strict=True))
    batches = training_batches(PreparedPictures(val, DataConfig(short_side=64, max_side=128)), 4, seed=0)
    lying = [[group_of[name] for name in batch.ids] for batch in islice(batches, 12)]
    assert all(len(set(batch)) == 1 for batch in lying)
    assert {batch[0] for batch in lying} == {0, 1}


@pytest.mark.parametrize("rank", [0, 1])
def test_workers_and_processes_change_nothing(val: CocoDataset, rank: int):
    pictures = PreparedPictures(val, DataConfig(short_side=64, max_side=128))
    options = {"seed": 3, "start_step": 2}
    one = list(islice(training_batches(pictures, 4, accumulate=2, **options), 10))
    resumed = list(islice(training_batches(pictures, 4, seed=3, accumulate=2, workers=2), 14))[4:]
    share = list(islice(training_batches(pictures, 4, workers=2, rank=rank, world_size=2, **options), 5))
    for here, other in zip([*one, *one[rank::2]], [*resumed, *share], strict=True):
        assert_equal(here, other)


def test_steps_of_several_micro_batches_mix_aspects(val: CocoDataset):
    group_of = dict(zip(map(str, val.image_ids), aspect_groups(val), strict=True))
    pictures = PreparedPictures(val, DataConfig(short_side=64, max_side=128))
    parts = [
        {group_of[name] for name in batch.ids}
        for batch in islice(training_batches(pictures, 8, seed=0, accumulate=4), 48)
    ]
    assert {len(part) for part in parts} == {1}
    steps = [set().union(*parts[i : i + 4]) for i in range(0, 48, 4)]
    assert {0, 1} in steps


def test_a_second_seed_gives_another_order(val: CocoDataset):
    pictures = PreparedPictures(val, DataConfig(short_side=64, max_side=128))
    one, other = (next(iter(training_batches(pictures, 4, seed=seed))) for seed in (0, 1))
    assert one.ids != other.ids


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_leave_the_global_generator_alone(small: CocoDataset, workers: int):
    # A resumed run makes a new loader: did that draw from torch's generator, all later draws would differ.
    before = torch.get_rng_state()
    next(
        iter(
            training_batches(
                PreparedPictures(small, DataConfig(short_side=4, max_side=6)), 1, seed=0, workers=workers
            )
        )
    )
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_sees_every_picture_once_in_order(small: CocoDataset, world_size: int):
    pictures = PreparedPictures(small, DataConfig(short_side=4, max_side=6, flip=False))
    ids = [
        name
        for rank in range(world_size)
        for batch in evaluation_batches(pictures, evaluation_shard(3, rank, world_size), batch_size=2)
        for name in batch.ids
    ]
    assert ids == ["30", "10", "20"]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_can_be_repeated_and_can_be_empty(small: CocoDataset, workers: int):
    pictures = PreparedPictures(small, DataConfig(short_side=4, max_side=6, flip=False))
    loader = evaluation_batches(pictures, range(3), workers=workers)
    assert [b.ids for b in loader] == [b.ids for b in loader] == [["30"], ["10"], ["20"]]
    assert list(evaluation_batches(pictures, range(0), workers=workers)) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_picture_is_named_and_nothing_else(small: CocoDataset, workers: int):
    path = small.image_path(1)
    path.write_bytes(path.read_bytes()[:200])
    loader = evaluation_batches(
        PreparedPictures(small, DataConfig(short_side=4, max_side=6)), range(3), workers=workers
    )
    with pytest.raises(UserError) as expected:
        load_image(path)
    with pytest.raises(UserError) as error:
        list(loader)
    assert str(error.value) == str(expected.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "Traceback" not in str(error.value)


def test_good_batches_before_a_broken_one_arrive(small: CocoDataset):
    small.image_path(2).write_bytes(b"")
    batches = iter(
        evaluation_batches(PreparedPictures(small, DataConfig(short_side=4, max_side=6)), range(3), workers=2)
    )
    assert [next(batches).ids, next(batches).ids] == [["30"], ["10"]]
    with pytest.raises(UserError, match=r"b\.jpg: the file is empty"):
        next(batches)


def test_batch_can_be_moved(small: CocoDataset):
    batch = PreparedPictures(small, DataConfig(short_side=4, max_side=6)).read([Item(0, 0), Item(2, 0)])
    assert_equal(batch.to("cpu"), batch)
    assert batch.to("meta").boxes.device.type == "meta"


def test_real_pictures(real_data: Path):
    folder = real_data / "coco"
    dataset = CocoDataset(folder / "annotations" / "instances_val2017.json", folder / "val2017")
    batches = training_batches(
        PreparedPictures(dataset, DataConfig(short_side=128, max_side=256)), 4, seed=0, workers=2
    )
    for batch in islice(batches, 5):
        assert batch.images.float().std() > 20
        bound = batch.sizes[:, None, [1, 0, 1, 0]].float() + 1e-3
        assert (batch.boxes >= -1e-3).all() and (batch.boxes <= bound).all()
        assert (batch.boxes[batch.valid][:, 2:] > batch.boxes[batch.valid][:, :2]).all()
