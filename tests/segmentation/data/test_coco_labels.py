import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from foundation.errors import UserError
from pictures.annotations.voc_classes import COCO_NAMES, VOC_CLASSES
from segmentation.data.coco_labels import CocoLabels, open_coco, open_coco_stuff, open_coco_voc
from segmentation.data.segmentation_sets import check_set
from segmentation.types import IGNORED
from tests.segmentation.conftest import save

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Writer = Callable[..., Path]


def rectangle(x1: int, y1: int, x2: int, y2: int) -> dict[str, Any]:
    """The box and the polygon of whole pixels x1 … x2 − 1, y1 … y2 − 1."""
    corners = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": corners}


def test_objects_and_crowds(write_coco: Writer, tmp_path: Path):
    dataset = CocoLabels(write_coco(), tmp_path)
    assert dataset.classes == ["background", "person", "dog"]  # by their ids, 1 and 18
    assert [dataset.image_id(index) for index in range(3)] == ["30", "10", "20"]
    crowd = np.zeros((4, 6), int)
    crowd[:, 2] = IGNORED
    assert dataset.load_labels(0).tolist() == crowd.tolist()
    drawn = np.zeros((4, 6), int)
    drawn[:2, 1:4], drawn[1:, 4:] = 2, 1
    assert dataset.load_labels(1).tolist() == drawn.tolist()
    assert not dataset.load_labels(2).any()
    assert dataset.image_path(1) == tmp_path / "a.jpg" and dataset.image_size(1) == (4, 6)


def test_the_smaller_object_is_seen(write_coco: Writer, coco_content: dict[str, Any], tmp_path: Path):
    crowd, small, large = coco_content["annotations"][1], *coco_content["annotations"][::2]
    crowd |= {"image_id": 10, "segmentation": {"size": [4, 6], "counts": [0, 4, 20]}}  # the first column
    small |= rectangle(0, 0, 2, 2) | {"area": 4}
    large |= rectangle(1, 0, 5, 4) | {"area": 16}
    expected = [[2, 2, 1, 1, 1, 0], [2, 2, 1, 1, 1, 0], [255, 1, 1, 1, 1, 0], [255, 1, 1, 1, 1, 0]]
    for order in ([crowd, small, large], [large, small, crowd]):
        dataset = CocoLabels(write_coco({**coco_content, "annotations": order}), tmp_path)
        assert dataset.load_labels(1).tolist() == expected
    without = [{key: value for key, value in a.items() if key != "area"} for a in (small, large)]
    boxes = CocoLabels(write_coco({**coco_content, "annotations": [crowd, *without]}), tmp_path)
    assert boxes.load_labels(1).tolist() == expected  # by the area of their boxes


def test_of_two_of_one_area_the_later(write_coco: Writer, coco_content: dict[str, Any], tmp_path: Path):
    first, second = coco_content["annotations"][::2]
    first |= rectangle(0, 0, 2, 2) | {"area": 4}
    second |= rectangle(1, 0, 3, 2) | {"area": 4}
    dataset = CocoLabels(write_coco({**coco_content, "annotations": [first, second]}), tmp_path)
    assert dataset.load_labels(1)[0].tolist() == [2, 1, 1, 0, 0, 0]


def test_without_annotations_the_truth_is_unknown(write_coco: Writer, coco_content: dict, tmp_path: Path):
    del coco_content["annotations"]
    dataset = CocoLabels(write_coco(coco_content), tmp_path)
    assert not dataset.has_truth and (dataset.load_labels(0) == IGNORED).all()


def test_malformed(write_coco: Writer, coco_content: dict[str, Any], tmp_path: Path):
    coco_content["annotations"][0]["segmentation"] = [[1, 2]]
    with pytest.raises(UserError, match="annotation 1: segmentation is missing or malformed"):
        CocoLabels(write_coco(coco_content), tmp_path)
    coco_content["annotations"][0]["image_id"] = 99
    with pytest.raises(UserError, match="annotation 1: image_id 99 is not in the annotation file"):
        CocoLabels(write_coco(coco_content), tmp_path)


def test_the_fingerprint_is_of_what_is_drawn(write_coco: Writer, coco_content: dict, tmp_path: Path):
    before = CocoLabels(write_coco(), tmp_path).fingerprint()
    assert CocoLabels(write_coco(), tmp_path).fingerprint() == before
    coco_content["annotations"][0]["segmentation"] = rectangle(0, 0, 1, 1)["segmentation"]
    assert CocoLabels(write_coco(coco_content), tmp_path).fingerprint() != before


def test_a_picture_of_another_size_than_stated(coco_root: Path):
    dataset = open_coco(coco_root, "val")
    check_set(dataset, workers=0)
    save(coco_root / "val" / "b.jpg", np.zeros((3, 6, 3)))
    with pytest.raises(UserError, match=r"b\.jpg: the picture is 3x6 \(height x width\), its label map 4x6"):
        check_set(dataset, workers=0)


def voc_content(coco_content: dict[str, Any]) -> dict[str, Any]:
    """Picture 10 (4x6) with a person, a dog, a zebra and a crowd of people, in COCO's categories for VOC."""
    names = ["zebra", *COCO_NAMES.values()]
    ids = {name: number for number, name in enumerate(names, start=1)}
    objects = [
        {"category_id": ids["person"], **rectangle(0, 0, 3, 2)},
        {"category_id": ids["dog"], **rectangle(2, 0, 4, 4)},
        {"category_id": ids["zebra"], **rectangle(0, 0, 6, 4)},
        {"category_id": ids["person"], "segmentation": {"size": [4, 6], "counts": [20, 4]}, "iscrowd": 1},
    ]
    for number, annotation in enumerate(objects, start=1):
        annotation |= {"id": number, "image_id": 10, "area": 6}
        annotation.setdefault("bbox", [5, 0, 1, 4])
        annotation.setdefault("iscrowd", 0)
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {**coco_content, "categories": categories, "annotations": objects}


def test_classes_of_voc(write_coco: Writer, coco_content: dict[str, Any], tmp_path: Path):
    """torchvision's rules: others are background, shared pixels are ignored, and a crowd is an object."""
    dataset = CocoLabels(write_coco(voc_content(coco_content)), tmp_path, of_voc=True)
    assert dataset.classes == ["background", *VOC_CLASSES]
    person, dog = 15, 12
    upper, lower = [person, person, IGNORED, dog, 0, person], [0, 0, dog, dog, 0, person]
    assert dataset.load_labels(1).tolist() == [upper, upper, lower, lower]


def test_classes_of_voc_leave_small_objects_out_of_training(coco_content: dict[str, Any], tmp_path: Path):
    content = voc_content(coco_content)
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        for image in content["images"]:
            save(tmp_path / split / image["file_name"], np.zeros((image["height"], image["width"], 3)))

    def open_split(split: str, person: float) -> list[str]:
        content["annotations"][0]["area"] = person
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        dataset = open_coco_voc(tmp_path, split)
        return [dataset.image_id(index) for index in range(len(dataset))]

    assert open_split("val2017", 6) == ["30", "10", "20"]
    # The dog and the crowd have 6 pixels each, the zebra does not count.
    assert open_split("train2017", 989) == ["10"]
    assert open_split("train2017", 988) == []  # no more than 1,000


def test_classes_of_voc_must_be_there(write_coco: Writer, coco_content: dict[str, Any], tmp_path: Path):
    with pytest.raises(UserError, match="lacks airplane, bicycle, .*; expected COCO's names of VOC's 20"):
        CocoLabels(write_coco(coco_content), tmp_path, of_voc=True)


def test_real_classes_of_voc(real_data: Path):
    training, validation = (open_coco_voc(real_data / "coco", split) for split in ("train2017", "val2017"))
    assert 0 < len(training) < 87 and len(validation) == 60
    check_set(validation, workers=0)


def test_stuff(tmp_path: Path):
    save(tmp_path / "val2017" / "1.jpg", np.zeros((1, 3, 3)))
    save(tmp_path / "stuffthingmaps" / "val2017" / "1.png", [[0, 1, 255]])
    names = tmp_path / "stuffthingmaps" / "labels.txt"
    with pytest.raises(
        UserError, match="no such file; put labels.txt of https://github.com/nightrome/cocostuff"
    ):
        open_coco_stuff(tmp_path, "val2017")
    names.write_text("0: unlabeled\n1: person\n2: sky-other\n")
    dataset = open_coco_stuff(tmp_path, "val2017")
    assert dataset.classes == ["person", "sky-other"]
    assert dataset.load_labels(0).tolist() == [[0, 1, IGNORED]]
    names.write_text("1: person\n3: sky\n")
    with pytest.raises(UserError, match='expected lines with the ids 1, 2, 3, … and names, as "1: person"'):
        open_coco_stuff(tmp_path, "val2017")
    names.write_text("1: person\n2: sky\n")
    save(tmp_path / "stuffthingmaps" / "val2017" / "2.png", [[0]])
    with pytest.raises(UserError, match=r"2\.png: has no picture 2 in"):
        open_coco_stuff(tmp_path, "val2017")


def test_real_people_are_drawn(real_data: Path):
    dataset = open_coco(real_data / "PennFudanPed", "val")
    assert (len(dataset), dataset.classes) == (50, ["background", "person"])
    labels = dataset.load_labels(0)
    assert labels.shape == dataset.image_size(0) and 0.02 < (labels == 1).mean() < 0.6
    check_set(dataset, workers=0)


def test_real_objects_are_drawn(real_data: Path):
    """Every labelled pixel is of an object of that class by pycocotools' own drawing."""
    dataset = open_coco(real_data / "coco", "val2017")
    from pycocotools.coco import COCO

    truth = COCO(str(real_data / "coco" / "annotations" / "instances_val2017.json"))
    ids = sorted(truth.getCatIds())
    for index in range(5):
        labels = dataset.load_labels(index)
        for label in np.unique(labels[(labels > 0) & (labels < IGNORED)]):
            found = truth.loadAnns(truth.getAnnIds(int(dataset.image_id(index)), ids[label - 1]))
            masks = [coco_mask.decode(truth.annToRLE(annotation)) for annotation in found]
            assert np.logical_or.reduce(masks)[labels == label].all()
