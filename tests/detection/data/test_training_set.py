from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from detection.data.batching import PreparedPictures, check_pictures
from detection.data.coco import CocoDataset
from engine.errors import UserError
from engine.sampler import Item


def test_sample_without_flip(small: CocoDataset):
    # 6 x 4 to short side 8: twice as large, (1, 0, 4, 2) becomes (2, 0, 8, 4).
    got = PreparedPictures(small, 8, 100, flip=False)[Item(1, 5)]
    assert (got.image.shape, got.image.dtype) == ((3, 8, 12), torch.uint8)
    assert got.boxes.tolist() == [[2, 0, 8, 4], [8, 2, 12, 8]]
    assert got.labels.tolist() == [2, 1]
    assert (got.scale, got.seed, got.id) == ((2.0, 2.0), 5, "10")


def test_scales_are_those_of_the_rounded_size(small: CocoDataset):
    # Short side 5, but at most 7: factor 7 / 6, height 4 x 7 / 6 = 4.67, rounded 5: y scale 5 / 4.
    got = PreparedPictures(small, 5, 7, flip=False)[Item(0, 0)]
    assert got.image.shape == (3, 5, 7)
    assert got.scale == (5 / 4, 7 / 6)
    scale = torch.tensor([got.scale[1], got.scale[0]] * 2)
    assert torch.allclose(got.boxes / scale, torch.tensor([[2.0, 0, 3, 4]]))


def test_ignored_objects_are_left_out(small: CocoDataset):
    got = PreparedPictures(small, 4, 6, flip=False)[Item(0, 0)]
    assert (got.boxes.shape, got.labels.shape) == ((0, 4), (0,))


def test_flips_move_boxes_and_half_of_the_pictures(small: CocoDataset):
    # Width 6: (1, 0, 4, 2) becomes (2, 0, 5, 2).
    pictures = PreparedPictures(small, 4, 6)
    first = [pictures[Item(1, seed)].boxes[0].tolist() for seed in range(200)]
    assert sorted(map(tuple, first))[0] == (1, 0, 4, 2)
    assert {tuple(box) for box in first} == {(1, 0, 4, 2), (2, 0, 5, 2)}
    # Binomial: 100 expected, standard deviation sqrt(200 / 4) = 7.1.
    assert 72 < first.count([2, 0, 5, 2]) < 128


def test_flipped_pixels_go_with_the_boxes(val: CocoDataset):
    pictures = PreparedPictures(val, 100, 200)
    plain = PreparedPictures(val, 100, 200, flip=False)[Item(3, 0)]
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
    one, other = PreparedPictures(val, 100, 200, max_boxes=2), PreparedPictures(val, 100, 200, max_boxes=2)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = [one[Item(index, 40 + index)] for index in range(6)]
    for index in reversed(range(6)):
        got = other[Item(index, 40 + index)]
        assert torch.equal(got.image, expected[index].image)
        assert torch.equal(got.boxes, expected[index].boxes)
        assert got.seed == expected[index].seed


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
        got = PreparedPictures(dataset, 4, 6, flip=False, max_boxes=limit)[Item(1, seed)]
        return got.boxes[:, 0].tolist()

    assert kept(6, 0) == [0, 0.5, 1]
    assert {tuple(kept(3, seed)) for seed in range(20)} == {(0, 0.5, 1)}
    assert {tuple(kept(2, seed)) for seed in range(50)} == {(0, 0.5), (0, 1), (0.5, 1)}


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
        PreparedPictures(small)[Item(0, 0)]
