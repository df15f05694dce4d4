import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.ops import box_iou

from detection.data.annotations import require_truth
from detection.data.voc_dataset import VOC_CLASSES, VocDataset
from foundation.errors import UserError
from pictures.decoding import load_image

DOG = ("dog", (48, 240, 195, 371), 0)
PERSON = ("person", (8, 12, 352, 498), 1)
TRAIN = ("2007", "train")


def open_voc(root: Path, *splits: tuple[str, str]) -> VocDataset:
    return VocDataset(root, splits)


def test_boxes_labels_and_difficult(write_voc: Callable[..., Path]):
    # VOC2007's own 000001.xml. 1-based, inclusive (48, 240, 195, 371) begins at edge 47, 239 and ends at the
    # far edge of pixel 195, 371. Label 12 is "dog", 15 "person": aeroplane is 1.
    dataset = open_voc(write_voc({"000001": [DOG, PERSON]}), TRAIN)
    target = dataset.load_target(0)
    assert target.boxes.tolist() == [[47, 239, 195, 371], [7, 11, 352, 498]]
    assert target.labels.tolist() == [12, 15]
    assert target.ignore.tolist() == [False, True]
    assert target.image_id == "000001"
    assert target.size == dataset.image_sizes[0] == (500, 353)
    assert dataset.category_ids == list(range(1, 21))
    assert dataset.classes == list(VOC_CLASSES)


def test_plain_iou_is_the_devkits(write_voc: Callable[..., Path]):
    # Devkit: 10 x 10 and 10 x 10 pixels share (10 - 6 + 1)^2 = 25; 25 / (100 + 100 - 25) = 1/7.
    root = write_voc({"1": [("cat", (1, 1, 10, 10), 0), ("cat", (6, 6, 15, 15), 0)]})
    boxes = open_voc(root, TRAIN).load_target(0).boxes
    assert box_iou(boxes, boxes)[0, 1].item() == pytest.approx(1 / 7)


def test_one_pixel_and_the_far_corner(write_voc: Callable[..., Path]):
    root = write_voc({"1": [("cat", (1, 1, 1, 1), 0), ("cat", (353, 500, 353, 500), 0)]})
    assert open_voc(root, TRAIN).load_target(0).boxes.tolist() == [[0, 0, 1, 1], [352, 499, 353, 500]]


def test_boxes_that_reach_beyond_the_picture_stay(write_voc: Callable[..., Path]):
    root = write_voc({"1": [("cat", (0, -4, 400, 10.5), 0)]})
    assert open_voc(root, TRAIN).load_target(0).boxes.tolist() == [[-1, -5, 400, 10.5]]


def test_picture_without_objects_between_others(write_voc: Callable[..., Path]):
    dataset = open_voc(write_voc({"1": [DOG], "2": [], "3": [PERSON]}), TRAIN)
    assert [target.labels.tolist() for target in dataset.targets] == [[12], [], [15]]
    assert dataset.load_target(1).boxes.shape == (0, 4)
    assert len(dataset) == 3


def test_split_without_pictures(write_voc: Callable[..., Path]):
    assert len(open_voc(write_voc({}), TRAIN)) == 0


def test_joined_splits_keep_order_and_folder(write_voc: Callable[..., Path]):
    root = write_voc({"000007": [DOG]}, split="val")
    write_voc({"2008_000002": [PERSON]}, year="2012", split="train")
    dataset = open_voc(root, ("2012", "train"), ("2007", "val"))
    assert dataset.image_ids == ["2008_000002", "000007"]
    assert dataset.image_path(0) == root / "VOC2012" / "JPEGImages" / "2008_000002.jpg"
    assert dataset.image_path(1) == root / "VOC2007" / "JPEGImages" / "000007.jpg"
    assert [target.labels.tolist() for target in dataset.targets] == [[15], [12]]


def test_splits_of_two_years_are_trained_on_together(write_voc: Callable[..., Path]):
    # "07++12": trainval and test of 2007, trainval of 2012.
    root = write_voc({"000001": [DOG]}, split="trainval")
    write_voc({"000002": [DOG, PERSON]}, split="test")
    write_voc({"2008_000002": [PERSON]}, year="2012", split="trainval")
    dataset = open_voc(root, ("2007", "trainval"), ("2007", "test"), ("2012", "trainval"))
    assert dataset.has_truth
    assert dataset.image_ids == ["000001", "000002", "2008_000002"]
    assert [target.labels.tolist() for target in dataset.targets] == [[12], [12, 15], [15]]


def save_secret(write_voc: Callable[..., Path], year: str = "2012") -> Path:
    """A split "test" of two pictures, 5 x 7 and 4 x 9 (height x width), of which one has an annotation."""
    root = write_voc({"2008_000001": [], "2008_000004": [PERSON]}, year=year, split="test")
    (root / f"VOC{year}" / "Annotations" / "2008_000001.xml").unlink()
    for name, size in (("2008_000001", (7, 5)), ("2008_000004", (9, 4))):
        Image.new("RGB", size).save(root / f"VOC{year}" / "JPEGImages" / f"{name}.jpg")
    return root


def test_a_test_split_without_annotations(write_voc: Callable[..., Path]):
    # Some of VOC2012's test pictures have files for another task: no truth for detection.
    dataset = open_voc(save_secret(write_voc), ("2012", "test"))
    assert not dataset.has_truth
    assert (dataset.image_ids, dataset.image_sizes) == (["2008_000001", "2008_000004"], [(5, 7), (4, 9)])
    assert [(t.image_id, t.size, len(t.boxes)) for t in dataset.targets] == [
        ("2008_000001", (5, 7), 0), ("2008_000004", (4, 9), 0),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"^2012:test has no annotations.*--submission"):
        require_truth(dataset, "2012:test")


def test_headers_are_read_when_they_are_needed(write_voc: Callable[..., Path]):
    root = save_secret(write_voc)
    (root / "VOC2012" / "JPEGImages" / "2008_000004.jpg").unlink()
    dataset = open_voc(root, ("2012", "test"))
    assert dataset.load_target(0).size == (5, 7)
    with pytest.raises(UserError, match=r"2008_000004\.jpg: no such picture"):
        dataset.load_target(1)


def test_a_test_split_with_annotations_has_truth(write_voc: Callable[..., Path]):
    root = write_voc({"2008_000001": [PERSON]}, year="2012", split="test")
    assert open_voc(root, ("2012", "test")).has_truth


def test_2007_and_other_splits_miss_no_annotation(write_voc: Callable[..., Path]):
    with pytest.raises(UserError, match=r"2008_000001\.xml: missing, though ImageSets/Main lists"):
        open_voc(save_secret(write_voc, "2007"), ("2007", "test"))


def test_overlapping_splits_are_refused(write_voc: Callable[..., Path]):
    root = write_voc({"000007": [DOG]}, split="val")
    write_voc({"000005": [DOG], "000007": [DOG]}, split="trainval")
    with pytest.raises(UserError, match=r"trainval\.txt: picture 000007 is listed a second time.*overlap"):
        open_voc(root, ("2007", "val"), ("2007", "trainval"))


def test_missing_devkit_says_where_and_how(tmp_path: Path):
    with pytest.raises(UserError) as error:
        open_voc(tmp_path, TRAIN)
    assert str(tmp_path / "VOC2007") in str(error.value)
    assert "http://host.robots.ox.ac.uk/pascal/VOC/" in str(error.value)


def test_unknown_split_suggests(write_voc: Callable[..., Path]):
    with pytest.raises(UserError, match=r"tran\.txt: VOC2007 has no split 'tran'; did you mean 'train'\?"):
        open_voc(write_voc({"1": [DOG]}), ("2007", "tran"))


def test_class_list_is_no_split(write_voc: Callable[..., Path]):
    # dog_train.txt lists every picture of train with 1 or -1: read as a split it would be all of train.
    root = write_voc({"1": [DOG]})
    (root / "VOC2007" / "ImageSets" / "Main" / "dog_train.txt").write_text("1 -1\n")
    with pytest.raises(UserError, match="1 -1"):
        open_voc(root, ("2007", "dog_train"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ("dogg", (1, 1, 5, 5), 0),
            r"1\.xml: object 2: 'dogg' is not among the classes .*; did you mean 'dog'\?",
        ),
        (("", (1, 1, 5, 5), 0), "'' is not among the classes .*; choose from aeroplane"),
        (
            ("dog", (5, 1, 4, 5), 0),
            "object 2: box xmin 5, ymin 1, xmax 4, ymax 5 covers nothing of the 353x500",
        ),
        (("dog", (1, 9, 5, 8), 0), "covers nothing"),
        (("dog", (354, 1, 360, 5), 0), "covers nothing"),
        (("dog", (-9, 1, 0, 5), 0), "covers nothing"),
        (("dog", (1, 1, "wide", 5), 0), "object 2: <bndbox/xmax> is 'wide', expected a number of pixels"),
        (("dog", (1, 1, "nan", 5), 0), "<bndbox/xmax> is 'nan'"),
    ],
)
def test_wrong_objects_are_refused(write_voc: Callable[..., Path], wrong: tuple, message: str):
    with pytest.raises(UserError, match=message):
        open_voc(write_voc({"1": [DOG, wrong]}), TRAIN)


def test_missing_broken_and_sizeless_annotations(write_voc: Callable[..., Path]):
    root = write_voc({"1": [DOG]})
    path = root / "VOC2007" / "Annotations" / "1.xml"
    path.write_text("<annotation><size><width>10</width></size></annotation>")
    with pytest.raises(UserError, match="<size/height> is ''"):
        open_voc(root, TRAIN)
    path.write_text("<annotation>")
    with pytest.raises(UserError, match=r"1\.xml: is damaged or of another kind"):
        open_voc(root, TRAIN)
    path.unlink()
    with pytest.raises(UserError, match=r"1\.xml: missing, though ImageSets/Main lists 1; restore it"):
        open_voc(root, TRAIN)
    write_voc({"1": []}, size=(0, 10))
    with pytest.raises(UserError, match="size is 10x0"):
        open_voc(root, TRAIN)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_real_pictures(real_data: Path, split: str):
    root = real_data / "VOCdevkit"
    dataset = open_voc(root, ("2007", split))
    names = (root / "VOC2007" / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
    texts = [(root / "VOC2007" / "Annotations" / f"{name}.xml").read_text() for name in names]
    assert dataset.image_ids == names
    for index, (target, text) in enumerate(zip(dataset.targets, texts, strict=True)):
        corners = [
            [int(value) for value in re.findall(rf"<{side}>(\d+)", text)]
            for side in ("xmin", "ymin", "xmax", "ymax")
        ]
        shift = torch.tensor([1.0, 1.0, 0.0, 0.0])
        assert (target.boxes + shift).T.tolist() == corners
        assert target.ignore.tolist() == [value == "1" for value in re.findall(r"<difficult>(\d)", text)]
        assert load_image(dataset.image_path(index), target.size).shape == (*target.size, 3)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../../x"])
def test_names_that_lead_elsewhere_are_refused(write_voc: Callable[..., Path], name: str):
    root = write_voc({"1": [DOG]})
    (root / "VOC2007" / "ImageSets" / "Main" / "train.txt").write_text(f"1\n{name}\n")
    with pytest.raises(UserError, match=f"'{name}' lies elsewhere; expected a name in Annotations"):
        open_voc(root, TRAIN)
