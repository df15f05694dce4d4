"""A repaired set is clean, loads, and stands beside the original; what was changed is said."""

import errno
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import parse_split
from detection.data.voc_dataset import VocDataset
from doctor.diagnosis import examine, open_set
from doctor.findings import is_clean
from doctor.repair import repair_split
from foundation.errors import UserError


def repair(text: str, out: Path) -> list[str]:
    split, (survey,) = parse_split(text), open_set(text)
    assert split is not None
    return repair_split(split, survey, examine([survey]).facts[0], out)


@pytest.fixture
def broken_coco(coco: Path, content: dict, draw: Callable) -> Path:
    """A file with everything that a repair handles, at once."""
    folder = coco.parent / "pictures"
    images, annotations, categories = (content[k] for k in ("images", "annotations", "categories"))
    images[0].update(width=10, height=0)
    images += [{**images[1], "id": 8}, {**images[1], "file_name": "9.png"}, {"id": 7}, None]
    images += [{"id": 6, "file_name": "6.png", "width": 5, "height": 5}]
    categories += [{"id": 2, "name": "cow"}, {"id": 9, "name": "cat"}]
    good = annotations[2]
    new = [
        {"bbox": [50, 6, 30, 10]},
        {"bbox": [64, 6, 30, 10]},
        {"bbox": [1, 2, 0, 4]},
        {"bbox": [1, 2, -1, 4]},
        {"bbox": [1, 2, float("nan"), 4]},
        {"image_id": 99},
        {"image_id": [2]},
        {"category_id": 77},
        {},  # the same box again
        {"category_id": 9, "bbox": [1, 1, 9, 9], "id": good["id"]},
        {"image_id": 8, "bbox": [2, 2, 9, 9], "segmentation": [[1, 2, 3, 4]]},
        {"image_id": 6, "bbox": [2, 2, 3, 3]},
    ]
    content["annotations"] += [{**good, "id": 100 + i, **values} for i, values in enumerate(new)]
    (folder / "6.png").write_bytes(b"no picture")
    draw(folder / "9.png", 9)
    coco.write_text(json.dumps(content))
    return coco


def test_a_repaired_coco_file_is_clean(broken_coco: Path, tmp_path: Path):
    folder, out = tmp_path / "pictures", tmp_path / "repaired.json"
    before = broken_coco.read_bytes()
    changes = repair(f"coco:{broken_coco}:{folder}", out)
    assert broken_coco.read_bytes() == before
    findings = examine(open_set(f"coco:{out}:{folder}")).findings
    assert is_clean(findings), [f for f in findings if f.severity != "note"]
    content = json.loads(out.read_text())
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert content["images"][0]["height"] == 48 and content["images"][0]["width"] == 64
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(1, "cat"), (2, "dog"), (10, "cow")]
    boxes = {entry["id"]: entry["bbox"] for entry in content["annotations"]}
    kept = {11, 12, 21, 22, 31, 32, 100, 101, 103, 110}
    assert boxes.keys() == kept | {112} and boxes[100] == [50, 6, 14, 10] and boxes[112] == [1, 1, 9, 9]
    by_id = {entry["id"]: entry for entry in content["annotations"]}
    assert by_id[112]["category_id"] == 1 and by_id[110]["image_id"] == 2
    assert by_id[110]["segmentation"] == [[2, 2, 11, 2, 11, 11, 2, 11]]  # its box
    assert by_id[101]["bbox"] == [5, 6, 20, 10] and by_id[103]["bbox"] == [0, 2, 1, 4]
    assert len(CocoDataset(out, folder, masks=True).targets[1].boxes) == 7
    text = "\n".join(changes)
    for part in (
        "image 1: size 10x0 is now 64x48",
        "annotation 100: bbox [50, 6, 30, 10] is now [50, 6, 14, 10]",
        "annotation 21 is now 112",
        "image 8 joined with image 2",
        "image 6 (6.png) left out: no readable picture",
        "category 9 'cat' joined with category 1",
        "annotation 101: bbox [64, 6, 30, 10] is now [5.0, 6.0, 20.0, 10.0], the box of its segmentation",
        "annotation 103: bbox [1, 2, -1, 4] is now [0, 2, 1, 4]",
        "annotation 110: its box stands for its mask, since its segmentation is missing or malformed",
    ):
        assert part in text


def test_odd_types_are_entered_as_they_are_asked_for(coco: Path, tmp_path: Path, content: dict):
    for entry in content["annotations"]:
        entry.update(iscrowd="0", area="200", image_id=str(entry["image_id"]))
    content["categories"][0].update(id="1", name=7)
    coco.write_text(json.dumps(content))
    folder = tmp_path / "pictures"
    changes = repair(f"coco:{coco}:{folder}", tmp_path / "b.json")
    loaded = CocoDataset(tmp_path / "b.json", folder, masks=True)
    assert loaded.classes == ["7", "dog"] and [len(target.boxes) for target in loaded.targets] == [2, 2, 2]
    assert not any(target.ignore.any() for target in loaded.targets)
    assert len(changes) == 2 + 6 * 3 and "annotation 11: iscrowd '0' is now 0" in changes


def test_a_whole_file_is_not_changed(coco: Path, tmp_path: Path, content: dict):
    assert repair(f"coco:{coco}:{tmp_path / 'pictures'}", tmp_path / "b.json") == []
    assert json.loads((tmp_path / "b.json").read_text()) == content


def test_nothing_is_overwritten(coco: Path, voc: Path, tmp_path: Path):
    before = coco.read_bytes()
    with pytest.raises(UserError, match="overwrite nothing"):
        repair(f"coco:{coco}:{tmp_path / 'pictures'}", coco)
    with pytest.raises(UserError, match="overwrite nothing"):
        repair(f"voc:{voc}:trainval", voc.parent)
    assert coco.read_bytes() == before


def test_a_repaired_voc_split_is_clean(
    voc: Path, tmp_path: Path, diagnosis: Callable, draw: Callable, write_xml: Callable
):
    objects = [
        ("cat", (0, 6, 66, 40)),
        ("cat", (66, 6, 70, 40)),
        ("catt", (5, 6, 30, 40)),
        ("dog", (5, 6, 3, 40)),
        ("dog", (5, 6, 30, 40)),
        ("dog", (5, 6, 30, 40)),
    ]
    write_xml(voc, "000001", objects, (10, 10))
    first = voc / "Annotations" / "000001.xml"
    first.write_text(first.read_text().replace("</object>", "<difficult>true</difficult></object>", 1))
    draw(voc / "JPEGImages" / "000003.jpg", 3)
    (voc / "JPEGImages" / "000004.jpg").write_bytes(b"")
    write_xml(voc, "000004", [])
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("000001\n000002\n000003\n000004\n000002\n")
    original = (voc / "Annotations" / "000001.xml").read_bytes()
    changes = repair(f"voc:{voc}:trainval", tmp_path / "repaired")
    findings = diagnosis(f"voc:{tmp_path / 'repaired' / 'VOC2007'}:trainval")
    assert is_clean(findings), [f for f in findings if f.severity != "note"]
    loaded = VocDataset(tmp_path / "repaired", [("2007", "trainval")])
    assert loaded.image_ids == ["000001", "000002"] and loaded.image_sizes[0] == (48, 64)
    assert loaded.targets[0].boxes.tolist() == [[0, 5, 64, 40], [4, 5, 30, 40]]
    assert (voc / "Annotations" / "000001.xml").read_bytes() == original
    assert "000001.xml object 1: bndbox 0, 6, 66, 40 is now 1, 6, 64, 40" in changes
    assert any(change.startswith("000004 left out") for change in changes) and len(changes) == 9
    assert "000001.xml object 1: difficult 'true' is now 1" in changes
    assert loaded.targets[0].ignore.tolist() == [True, False]


def test_misspelt_turned_and_unsized_pictures_of_voc_are_kept(
    voc: Path, tmp_path: Path, diagnosis: Callable, draw: Callable, write_xml: Callable
):
    exif = Image.Exif()
    exif[0x0112] = 6
    (voc / "JPEGImages" / "000001.jpg").rename(voc / "JPEGImages" / "Cat.PNG")
    (voc / "Annotations" / "000001.xml").rename(voc / "Annotations" / "cat.xml")
    draw(voc / "JPEGImages" / "000002.jpg", 2, (64, 48), exif=exif)  # upright 48 x 64
    write_xml(voc, "000002", [("cat", (5, 52, 30, 60)), ("helmet", (1, 1, 9, 9))])
    draw(voc / "JPEGImages" / "3.png", 3)
    (voc / "Annotations" / "3.xml").write_text("<annotation><filename>3.png</filename></annotation>")
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("CAT\n000002\n3.png\n")
    (voc / "classes.txt").write_text("helmet\ncat\n")
    found = {f.check: f for f in diagnosis(f"voc:{voc}:trainval") if f.severity != "note"}
    assert found.keys() == {"misspelt_name", "turned_boxes", "missing_size", "outside_box"}
    assert "JPEGImages/Cat.PNG" in found["misspelt_name"].detail and found["turned_boxes"].where == "000002"
    changes = repair(f"voc:{voc}:trainval", tmp_path / "new")
    assert changes == [
        "CAT is now Cat, as its file is called",
        "000002: size (64, 48) is now (48, 64) (width, height)",
        "3: size is now (64, 48) (width, height)",
    ]
    assert is_clean(diagnosis(f"voc:{tmp_path / 'new' / 'VOC2007'}:trainval"))
    loaded = VocDataset(tmp_path / "new", [("2007", "trainval")])
    assert loaded.image_ids == ["Cat", "000002", "3"] and loaded.classes == ["helmet", "cat"]
    assert [target.labels.tolist() for target in loaded.targets] == [[2], [2, 1], []]
    assert loaded.image_sizes == [(48, 64), (64, 48), (48, 64)]
    names = ["Cat.PNG", "000002.jpg", "3.png"]
    assert [loaded.image_path(index).name for index in range(3)] == names


def test_a_full_disk_leaves_no_half_annotation(
    voc: Path, tmp_path: Path, write_xml: Callable, monkeypatch: pytest.MonkeyPatch
):
    write_xml(voc, "000001", [("cat", (1, 6, 60, 40))])

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        repair(f"voc:{voc}:trainval", tmp_path / "repaired")
    assert str(caught.value.filename).endswith(".xml")
    assert list((tmp_path / "repaired" / "VOC2007" / "Annotations").iterdir()) == []


def test_a_killed_repair_cannot_be_read(voc: Path, tmp_path: Path, write_xml: Callable, kill_after: Callable):
    for number in range(1, 13):  # twelve pictures
        write_xml(voc, f"{number:06}", [("cat", (1, 6, 60, 40))])
        shutil.copyfile(voc / "JPEGImages" / "000001.jpg", voc / "JPEGImages" / f"{number:06}.jpg.new")
        (voc / "JPEGImages" / f"{number:06}.jpg.new").rename(voc / "JPEGImages" / f"{number:06}.jpg")
    names = [f"{number:06}" for number in range(1, 13)]
    (voc / "ImageSets" / "Main" / "trainval.txt").write_text("".join(f"{name}\n" for name in names))
    text, rng, outcomes = f"voc:{voc}:trainval", random.Random(0), []
    started = time.perf_counter()
    repair(text, tmp_path / "whole")
    duration = time.perf_counter() - started
    for number in range(15):
        out = tmp_path / f"killed{number}"
        kill_after(rng.uniform(0, 1.3 * duration), partial(repair, text, out))
        try:
            assert VocDataset(out, [("2007", "trainval")]).image_ids == names
            outcomes.append("whole")
        except UserError:
            outcomes.append("refused")
    assert "refused" in outcomes
