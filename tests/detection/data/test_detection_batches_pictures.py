import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig, open_dataset
from detection.data.detection_batches import PreparedPictures, Sample, check_pictures
from detection.data.shapes_scenes import ShapesFolders
from detection.metrics import voc_ap
from detection.types import Prediction
from foundation.errors import UserError
from training.loader import Item

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_sample_without_flip(small: CocoDataset):
    # 6 x 4 to short side 8: twice as large, (1, 0, 4, 2) becomes (2, 0, 8, 4).
    got = PreparedPictures(small, DataConfig(short_side=8, max_side=100, flip=False))[Item(1, 5)]
    assert (got.image.shape, got.image.dtype) == ((3, 8, 12), torch.uint8)
    assert got.boxes.tolist() == [[2, 0, 8, 4], [8, 2, 12, 8]]
    assert got.labels.tolist() == [2, 1]
    assert (got.scale, got.seed, got.id) == ((2.0, 2.0), 5, "10")


def test_scales_are_those_of_the_rounded_size(small: CocoDataset):
    # Short side 5, but at most 7: factor 7 / 6, height 4 x 7 / 6 = 4.67, rounded 5: y scale 5 / 4.
    got = PreparedPictures(small, DataConfig(short_side=5, max_side=7, flip=False))[Item(0, 0)]
    assert got.image.shape == (3, 5, 7)
    assert got.scale == (5 / 4, 7 / 6)
    scale = torch.tensor([got.scale[1], got.scale[0]] * 2)
    assert torch.allclose(got.boxes / scale, torch.tensor([[2.0, 0, 3, 4]]))


def test_ignored_objects_are_left_out(small: CocoDataset):
    got = PreparedPictures(small, DataConfig(short_side=4, max_side=6, flip=False))[Item(0, 0)]
    assert (got.boxes.shape, got.labels.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(("difficult", "labels"), [("leave_out", [8]), ("train", [12, 8])])
def test_difficult_objects_may_be_trained_on_and_are_never_scored(
    write_voc: Callable[..., Path], difficult: Literal["leave_out", "train"], labels: list[int]
):
    # A difficult dog and a cat that is not; both found, the dog with the higher score.
    root = write_voc({"000001": [("dog", (1, 1, 3, 3), 1), ("cat", (4, 1, 6, 4), 0)]}, size=(4, 6))
    Image.new("RGB", (6, 4)).save(root / "VOC2007" / "JPEGImages" / "000001.jpg")
    config = DataConfig(kind="voc", root=str(root), short_side=4, max_side=6, flip=False, difficult=difficult)
    dataset = open_dataset(config, "2007:train")
    got = PreparedPictures(dataset, config)[Item(0, 0)]
    assert got.labels.tolist() == labels and got.boxes[-1].tolist() == [3, 0, 6, 4]
    found = Prediction(dataset.targets[0].boxes, torch.tensor([12, 8]), torch.tensor([0.9, 0.8]))
    scores = voc_ap.evaluate([found], dataset.targets, 20)
    assert (scores.num_objects.sum(), scores.mean) == (1, 1)


def test_flips_move_boxes_and_half_of_the_pictures(small: CocoDataset):
    # Width 6: (1, 0, 4, 2) becomes (2, 0, 5, 2).
    pictures = PreparedPictures(small, DataConfig(short_side=4, max_side=6))
    first = [pictures[Item(1, seed)].boxes[0].tolist() for seed in range(200)]
    assert sorted(map(tuple, first))[0] == (1, 0, 4, 2)
    assert {tuple(box) for box in first} == {(1, 0, 4, 2), (2, 0, 5, 2)}
    # Binomial: 100 expected, standard deviation sqrt(200 / 4) = 7.1.
    assert 72 < first.count([2, 0, 5, 2]) < 128


def test_flipped_pixels_go_with_the_boxes(val: CocoDataset):
    pictures = PreparedPictures(val, DataConfig(short_side=100, max_side=200))
    plain = PreparedPictures(val, DataConfig(short_side=100, max_side=200, flip=False))[Item(3, 0)]
    flipped = next(
        got
        for got in (pictures[Item(3, seed)] for seed in range(50))
        if not torch.equal(got.boxes, plain.boxes)
    )
    assert torch.equal(flipped.image, plain.image.flip(2))
    assert torch.equal(flipped.boxes[:, [1, 3]], plain.boxes[:, [1, 3]])
    width = plain.image.shape[2]
    assert torch.allclose(flipped.boxes[:, [0, 2]], width - plain.boxes[:, [2, 0]])


def test_a_sample_depends_on_its_item_alone(val: CocoDataset):
    one, other = (
        PreparedPictures(val, DataConfig(short_side=100, max_side=200, max_boxes=2)),
        PreparedPictures(val, DataConfig(short_side=100, max_side=200, max_boxes=2)),
    )
    np.random.seed(1)
    torch.manual_seed(1)
    expected = [one[Item(index, 40 + index)] for index in range(6)]
    for index in reversed(range(6)):
        got = other[Item(index, 40 + index)]
        assert torch.equal(got.image, expected[index].image)
        assert torch.equal(got.boxes, expected[index].boxes)
        assert got.seed == expected[index].seed


def test_one_of_several_short_sides_is_drawn(small: CocoDataset):
    pictures = PreparedPictures(small, DataConfig(short_side=4, max_side=100, train_short_sides=(8, 12, 16)))
    drawn = [tuple(pictures[Item(0, seed)].image.shape[1:]) for seed in range(90)]
    assert set(drawn) == {(8, 12), (12, 18), (16, 24)}
    # Binomial with a third of 90: 30 expected, standard deviation 4.5.
    assert all(12 < drawn.count(size) < 48 for size in set(drawn))
    # Whether a picture is mirrored does not depend on its size.
    mirrored = [(pictures[Item(1, seed)].boxes[0, 0] / drawn[seed][1]).item() > 0.3 for seed in range(90)]
    assert {(size, flip) for size, flip in zip(drawn, mirrored, strict=True)} == {
        (size, flip) for size in set(drawn) for flip in (False, True)
    }


def test_other_options_leave_the_draws_alone(val: CocoDataset):
    # What a run of an earlier release saw, it sees again: masks draw nothing, nor does a single short side.
    plain, single = (
        PreparedPictures(val, DataConfig(short_side=64, max_side=128)),
        PreparedPictures(val, DataConfig(short_side=100, max_side=128, train_short_sides=[64])),
    )
    for index in range(8):
        one, other = plain[Item(index, index)], single[Item(index, index)]
        assert torch.equal(one.image, other.image) and torch.equal(one.boxes, other.boxes)


def test_jitter_crops_objects_and_drops_those_outside(shapes: ShapesFolders):
    file = shapes.coco / "annotations" / "instances_val.json"
    dataset = CocoDataset(file, shapes.coco / "val", masks=True)
    pictures = PreparedPictures(dataset, DataConfig(jitter=(1.5, 2.0), crop=160), masks=True)
    kept = 0
    for index in range(20):
        got, whole = pictures[Item(index, 7 * index)], dataset.load_target(index)
        assert max(got.image.shape[1:]) == 160 and len(got.boxes) <= len(whole.boxes)
        height, width = got.image.shape[1:]
        assert (got.boxes >= 0).all() and (got.boxes <= torch.tensor([width, height] * 2)).all()
        assert (got.boxes[:, 2:] > got.boxes[:, :2]).all()
        for mask, box in zip(unpacked(got), got.boxes.tolist(), strict=True):
            # Shapes' boxes are tight, and stay so but where the window cut a corner off the shape.
            y, x = np.nonzero(mask)
            assert mask.any() and x.min() >= box[0] - 1 and x.max() < box[2] + 1
            assert y.min() >= box[1] - 1 and y.max() < box[3] + 1
        kept += len(got.boxes)
    assert 0 < kept < sum(len(dataset.load_target(index).boxes) for index in range(20))


def test_jittered_pixels_masks_and_boxes_belong_together(tmp_path: Path):
    # A white rectangle on black is the object: whatever the view, white pixels are those of mask and box.
    pixels = np.zeros((64, 96, 3), dtype=np.uint8)
    pixels[16:48, 32:80] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    box, polygon = [32, 16, 48, 32], [32, 16, 80, 16, 80, 48, 32, 48]
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": box, "segmentation": [polygon]}
    content = {"images": [{"id": 1, "file_name": "a.png", "height": 64, "width": 96}]}
    content |= {"categories": [{"id": 1, "name": "white"}], "annotations": [entry]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    dataset = CocoDataset(tmp_path / "a.json", tmp_path, masks=True)
    pictures = PreparedPictures(dataset, DataConfig(jitter=(0.5, 3.0), crop=64), masks=True)
    for seed in range(60):
        got = pictures[Item(0, seed)]
        white = got.image[0].numpy() > 127
        if not len(got.boxes):
            assert white.sum() < 64 * 2
            continue
        mask = unpacked(got)[0]
        box_mask = np.zeros_like(mask)
        x1, y1, x2, y2 = got.boxes[0].round().int().tolist()
        box_mask[y1:y2, x1:x2] = True
        borders = 2 * sum(mask.shape)
        assert (white ^ mask).sum() <= borders and (box_mask ^ mask).sum() <= borders


def crowded(coco_content: dict[str, Any]) -> dict[str, Any]:
    """Six objects in picture 10, all but the first three crowds; their left edges number them."""
    entry = coco_content["annotations"][0]
    coco_content["annotations"] = [
        {**entry, "id": n, "bbox": [n * 0.5, 0, 1, 1], "iscrowd": int(n >= 3)} for n in range(6)
    ]
    return coco_content


def test_of_too_many_objects_a_random_choice_is_kept(
    write_coco: Callable[..., Path], coco_content: dict[str, Any]
):
    path = write_coco(crowded(coco_content))
    dataset = CocoDataset(path, path.parent)

    def kept(limit: int, seed: int) -> list[float]:
        got = PreparedPictures(dataset, DataConfig(short_side=4, max_side=6, flip=False, max_boxes=limit))[
            Item(1, seed)
        ]
        return got.boxes[:, 0].tolist()

    assert kept(6, 0) == [0, 0.5, 1]
    assert {tuple(kept(3, seed)) for seed in range(20)} == {(0, 0.5, 1)}
    assert {tuple(kept(2, seed)) for seed in range(50)} == {(0, 0.5), (0, 1), (0.5, 1)}


def unpacked(got: Sample) -> np.ndarray:
    assert got.masks is not None
    assert got.masks.shape == (len(got.boxes), got.image.shape[1], -(-got.image.shape[2] // 8))
    return np.unpackbits(got.masks.numpy(), axis=2)[:, :, : got.image.shape[2]].astype(bool)


def test_masks_go_with_their_boxes(write_coco: Callable[..., Path]):
    # Every mask of picture 10 fills its box: (1, 0, 4, 2) and (4, 1, 6, 4), twice as large.
    path = write_coco()
    dataset = CocoDataset(path, path.parent, masks=True)
    for flip in (False, True):
        for seed in range(4):
            got = PreparedPictures(dataset, DataConfig(short_side=8, max_side=100, flip=flip), masks=True)[
                Item(1, seed)
            ]
            for mask, (x1, y1, x2, y2) in zip(unpacked(got), got.boxes.int().tolist(), strict=True):
                assert mask[y1:y2, x1:x2].all() and mask.sum() == (y2 - y1) * (x2 - x1)
    crowd, nothing = (
        PreparedPictures(dataset, DataConfig(short_side=8, max_side=100), masks=True)[Item(index, 0)]
        for index in (0, 2)
    )
    assert unpacked(crowd).shape == unpacked(nothing).shape == (0, 8, 12)


def test_an_object_without_a_pixel_has_no_mask_to_learn(
    write_coco: Callable[..., Path], coco_content: dict[str, Any]
):
    coco_content["annotations"][0]["segmentation"] = {"size": [4, 6], "counts": [24]}
    path = write_coco(coco_content)
    dataset = CocoDataset(path, path.parent, masks=True)
    got = PreparedPictures(dataset, DataConfig(short_side=4, max_side=6, flip=False), masks=True)[Item(1, 0)]
    assert got.labels.tolist() == [1] and unpacked(got).sum() == 6
    assert PreparedPictures(dataset, DataConfig(short_side=4, max_side=6, flip=False))[
        Item(1, 0)
    ].labels.tolist() == [2, 1]


def test_only_chosen_masks_are_drawn(write_coco: Callable[..., Path], coco_content: dict[str, Any]):
    seen: list[int] = []

    def drawn(number: int, /, *_: Any) -> np.ndarray:
        seen.append(number)
        return np.ones((4, 6), dtype=bool)

    path = write_coco(crowded(coco_content))
    target = replace(CocoDataset(path, path.parent).load_target(1), mask=drawn)
    pictures = PreparedPictures(
        CocoDataset(path, path.parent),
        DataConfig(short_side=4, max_side=6, flip=False, max_boxes=2),
        masks=True,
    )
    got = pictures.prepare(np.zeros((4, 6, 3), dtype=np.uint8), target, 3)
    assert [2 * left for left in got.boxes[:, 0].tolist()] == seen and len(seen) == 2


def test_masks_that_were_not_read(small: CocoDataset):
    with pytest.raises(ValueError, match="open it with masks=True"):
        PreparedPictures(small, DataConfig(), masks=True)[Item(1, 0)]


def test_missing_pictures_are_found_before_the_first_step(small: CocoDataset):
    small.image_path(1).unlink()
    with pytest.raises(UserError) as error:
        check_pictures(small)
    assert str(error.value).startswith(f"{small.image_path(1)}: no such picture")
    assert "1 of 3 pictures are missing" in str(error.value)


def test_picture_of_another_size_than_annotated(small: CocoDataset):
    Image.new("RGB", (7, 4)).save(small.image_path(0))
    with pytest.raises(
        UserError, match=r"c\.jpg: the picture is 4x7 \(height x width\), its annotation says 4x6"
    ):
        PreparedPictures(small, DataConfig())[Item(0, 0)]


@pytest.mark.parametrize("random", [{"train_short_sides": (8, 12)}, {"jitter": (0.5, 2.0), "crop": 8}])
def test_nothing_is_random_in_evaluation(small: CocoDataset, random: dict[str, Any]):
    options = DataConfig(short_side=8, max_side=100, **random)
    # 4 x 6 pixels with the short side at 8: 8 x 12.
    images = [PreparedPictures(small, options, training=False)[Item(1, seed)].image for seed in range(6)]
    plain = PreparedPictures(small, DataConfig(short_side=8, max_side=100, flip=False))[Item(1, 0)].image
    assert all(torch.equal(image, plain) for image in images) and plain.shape == (3, 8, 12)
