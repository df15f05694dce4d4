"""Sets as the command line and a configuration name them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from detection.config import DetectionConfig
from detection.data.dataset_splits import open_dataset
from doctor.diagnosis import diagnose, examine, open_set, sets_of
from doctor.findings import Finding
from foundation.errors import UserError
from training.config import load_config


def test_classes_of_train_and_val(sets: Path, configured: Callable):
    file = sets / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["categories"][0]["name"] = "cow"
    file.write_text(json.dumps(content))
    _, (validation,) = sets_of(configured(sets).data)
    found: list[Finding] = [f for f in validation.findings if f.check == "different_classes"]
    assert "cat, cow" in found[0].detail


def test_parts_of_a_training_set_are_not_leaks(voc: Path, configured: Callable):
    lists = voc / "ImageSets" / "Main"
    (lists / "train.txt").write_text("000001\n")
    overrides = ["data.kind=voc", "data.train=2007:trainval+2007:train", "data.val=2007:train"]
    training, validation = sets_of(configured(voc.parent, *overrides).data)
    found = examine(training).findings
    assert {f.check for f in found} & {"leak", "duplicate_image_id"} == {"duplicate_image_id"}
    assert "leak" in {f.check for f in examine(training + validation).findings}


@pytest.mark.parametrize("text", ["pascal:x", "coco:", "voc:only", "x.json"])
def test_other_forms_are_refused(diagnosis: Callable, text: str):
    with pytest.raises(UserError, match="expected coco:ANNOTATIONS"):
        diagnosis(text)


def test_joined_splits_are_surveyed_one_by_one(sets: Path, configured: Callable):
    training, validation = sets_of(configured(sets, "data.train=train2017+val2017").data)
    names = [survey.name.rpartition("/")[2] for survey in training]
    assert names == ["instances_train2017.json", "instances_val2017.json"]
    assert [survey.role for survey in [*training, *validation]] == ["train", "train", "val"]


def test_pictures_of_a_file_elsewhere_must_be_named(coco: Path):
    with pytest.raises(
        UserError, match=rf"no such folder for the pictures of {coco}; write coco:{coco}:FOLD"
    ):
        open_set(f"coco:{coco}")


def test_pictures_of_minival_are_found(coco: Path, tmp_path: Path):
    file = tmp_path / "annotations" / "instances_minival2014.json"
    file.parent.mkdir()
    coco.rename(file)
    (tmp_path / "pictures").rename(tmp_path / "val2014")
    (survey,) = open_set(f"coco:{file}")
    assert survey.pictures[0].path == tmp_path / "val2014" / "1.png"


def test_joined_splits_that_share_ids_are_an_error_as_for_the_loader(sets: Path, configured: Callable):
    data = configured(sets, "data.train=train2017+val2017").data
    training, validation = sets_of(data)
    found = [f.detail for f in training[1].findings if f.check == "duplicate_image_id"]
    assert [text.split(" is in two of the splits")[0] for text in found] == [
        f"with {training[0].name}: picture {number}" for number in (1, 2, 3)
    ]
    assert not any(f.check == "duplicate_image_id" for f in training[0].findings + validation[0].findings)
    with pytest.raises(UserError, match="is in two of the splits"):
        open_dataset(data, data.train)


def test_joined_splits_with_other_category_ids_are_an_error_as_for_the_loader(
    sets: Path, configured: Callable
):
    file = sets / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["categories"][1]["id"] = 5
    content["images"] = content["annotations"] = []
    file.write_text(json.dumps(content))
    data = configured(sets, "data.train=train2017+val2017", "data.val=train2017").data
    training, _ = sets_of(data)
    (found,) = [f for f in training[1].findings if f.check == "different_classes"]
    assert "2 (1 cat, 2 dog…) and 2 (1 cat, 5 dog…)" in found.detail and found.severity == "error"
    with pytest.raises(UserError, match=r"train2017\+val2017: the splits have different classes, .*5 dog"):
        open_dataset(data, data.train)


def test_a_set_in_a_folder_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture):
    for split, labels in (("train", "0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\nx"), ("valid", "")):
        for folder in ("images", "labels"):
            (tmp_path / split / folder).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(tmp_path / split / "images" / "a.png")
        (tmp_path / split / "labels" / "a.txt").write_text(labels)
    (tmp_path / "data.yaml").write_text("train: train/images\nval: valid/images\nnames: [cat]\n")
    assert not diagnose([f"yolo:{tmp_path}"], quick=True)
    printed = capsys.readouterr().out
    assert f"yolo:{tmp_path}:train: YOLO with data.yaml, 1 picture, 1 object, 1 class (cat)" in printed
    assert not diagnose([str(tmp_path)], quick=True)  # without a kind, which the files tell
    assert capsys.readouterr().out == f"{tmp_path} looks like yolo:{tmp_path}\n{printed}"
    with pytest.raises(UserError, match=f"'{tmp_path}/valid/images' is no set; expected .* a ROOT alone"):
        diagnose([f"{tmp_path}/valid/images"], quick=True)
    # All faults are listed, where the loader stops at the first.
    assert "train/labels/a.txt line 2: class 7 is beyond the 1 names" in printed
    assert "train/labels/a.txt line 3: holds 1 numbers" in printed
    config = tmp_path / "a.yaml"
    config.write_text(f"backbone: {{name: resnet18}}\ndata: {{kind: yolo, root: '{tmp_path}'}}\n")
    training, validation = sets_of(load_config(DetectionConfig, config).data)
    assert [survey.name for survey in training + validation] == [
        f"yolo:{tmp_path}:train",
        f"yolo:{tmp_path}:val",
    ]
    with pytest.raises(UserError, match="--repair takes files of COCO or a devkit; write yolo:"):
        diagnose([f"yolo:{tmp_path}:train"], quick=True, repair=tmp_path / "repaired")
