"""tools/doctor.py: exit status, table, JSON file, repair."""

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from doctor.findings import CHECKS


@pytest.fixture
def doctor(tool: Callable, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str]]:
    """Exit status and what was printed."""

    def call(*arguments: object) -> tuple[int, str]:
        capsys.readouterr()
        try:
            tool("doctor", *arguments)
            status = 0
        except SystemExit as left:
            status = int(left.code or 0)
        return status, capsys.readouterr().out

    return call


@pytest.fixture
def own_coco(data_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_folder / "coco", tmp_path / "coco"))


def test_status_table_json_and_repair(doctor: Callable, own_coco: Path, tmp_path: Path):
    file, pictures = own_coco / "annotations" / "instances_train.json", own_coco / "train"
    assert doctor(f"coco:{file}")[0] == 0  # the pictures' folder is found by the name
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [5, 5, -3, 4]
    file.write_text(json.dumps(content))
    status, printed = doctor(f"coco:{file}:{pictures}", "--json", tmp_path / "all.json")
    assert status == 1 and "error" in printed and "negative_box" in printed and "not clean" in printed
    written = json.loads((tmp_path / "all.json").read_text())
    assert not written["clean"] and written["counts"]["error"] == 1
    assert [f["where"] for f in written["findings"] if f["check"] == "negative_box"] == ["annotation 1"]
    status, printed = doctor(f"coco:{file}:{pictures}", "--repair", tmp_path / "repaired.json")
    assert status == 1 and "annotation 1: bbox [5, 5, -3, 4] is now [2, 5, 3, 4]" in printed
    assert doctor(f"coco:{tmp_path / 'repaired.json'}:{pictures}")[0] == 0


def test_what_was_repaired_trains_with_masks_and_scores(
    doctor: Callable, tool: Callable, own_coco: Path, tmp_path: Path, tiny_detector: list
):
    file, pictures = own_coco / "annotations" / "instances_train.json", own_coco / "train"
    whole = json.loads(file.read_text())
    broken = copy.deepcopy(whole)
    first, second, third, fourth, fifth, *_ = broken["images"]
    for image, name in ((first, f"..\\train\\{first['file_name']}"), (second, second["file_name"].upper())):
        image["file_name"] = name
    (pictures / third["file_name"]).rename(pictures / "caf\u0065\u0301 1.jpg")
    third["file_name"] = "caf%C3%A9%201.jpg"
    del fourth["width"], fourth["height"]
    fifth["width"] += 1
    objects = broken["annotations"]
    objects[0]["segmentation"] = [[1, 2, 3, 4]]
    x, y, width, height = objects[1]["bbox"]
    objects[1]["segmentation"] = [[x, y, x + width, y, x, y + height], [x, y, x + 1, y]]
    objects[2]["bbox"][2:] = [0, 0]
    del objects[3]["segmentation"]
    file.write_text(json.dumps(broken))
    out = own_coco / "annotations" / "instances_repaired.json"
    status, printed = doctor(f"coco:{file}:{pictures}", "--repair", out)
    assert status == 1 and "misspelt_name" in printed and "missing_size" in printed and "9 changes" in printed
    for part in (
        f"image {first['id']}: file_name",
        f"image {fourth['id']}: size not stated is now",
        f"annotation {objects[0]['id']}: its box stands for its mask",
        f"annotation {objects[1]['id']}: 1 of its 2 polygons left out",
        f"annotation {objects[2]['id']}: bbox",
        f"annotation {objects[3]['id']}: its box stands for its mask",
    ):
        assert part in printed
    content = json.loads(out.read_text())
    for section in ("images", "annotations"):  # none is lost
        assert [entry["id"] for entry in content[section]] == [entry["id"] for entry in whole[section]]
    assert doctor(f"coco:{out}:{pictures}")[0] == 0
    (own_coco / "repaired").symlink_to(pictures)
    options = [*tiny_detector, f"data.root={own_coco}", "data.train=repaired", "data.val=repaired"]
    options += ["detector.mask=true", "schedule.total_steps=1", "run.eval_every=1", "detector.kind=fpn"]
    options += ["backbone.name=resnet18", "roi.size=4", "rpn.anchor_sizes=[8, 16, 32, 64, 96]"]
    (tmp_path / "a.yaml").write_text("{}")
    tool("train_det", "--config", tmp_path / "a.yaml", "--out", tmp_path / "run", *options)
    assert "segm/AP" in (tmp_path / "run" / "result.json").read_text()


def test_the_classes_of_sets_given_together_are_compared(doctor: Callable, own_coco: Path):
    train, val = (own_coco / "annotations" / f"instances_{split}.json" for split in ("train", "val"))
    assert "different_classes" not in doctor(f"coco:{train}", f"coco:{val}", "--quick")[1]
    content = json.loads(val.read_text())
    first, second, *_ = content["categories"]
    first["name"], second["name"] = second["name"], first["name"]
    val.write_text(json.dumps(content))
    status, printed = doctor(f"coco:{train}", f"coco:{val}", "--quick")
    assert (
        status == 1 and "different_classes" in printed and "in another order, which labels follow" in printed
    )
    first["name"] = "unicorn"
    val.write_text(json.dumps(content))
    assert "only this set or coco:" in doctor(f"coco:{train}", f"coco:{val}", "--quick")[1]


def test_configuration_with_its_sets(doctor: Callable, own_coco: Path, tmp_path: Path, tiny_detector: list):
    config = tmp_path / "a.yaml"
    config.write_text("data: {kind: coco}\nschedule: {total_steps: 3}\n")
    options = [*tiny_detector, f"data.root={own_coco}", "data.train=train", "data.val=val"]
    status, printed = doctor("--config", config, *options, "--quick", "backbone.name=resnet18")
    assert "epochs of 8 pictures" in printed and "anchor_sizes" in printed and "GiB" in printed
    shutil.copy(next((own_coco / "train").iterdir()), next((own_coco / "val").iterdir()))
    status, printed = doctor("--config", config, *options, "--quick", "backbone.name=resnet18")
    assert status == 1 and "leak" in printed


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "nothing to check"),
        (["coco:none.json:x"], "none.json: no such file"),
        (["folder:none"], "none: no such folder"),
        (["voc:x/VOC2007:val", "--repair", "pyproject.toml"], "no VOC pictures in x/VOC2007"),
        (["folder:tests", "--repair", "new"], "--repair takes one coco: or voc: set"),
        (["folder:tests", "--workers", "0"], "--workers must be 1 or more"),
    ],
)
def test_what_cannot_be_checked(refused: Callable, arguments: list[str], part: str):
    assert part in refused("doctor", *arguments)


def test_every_check_is_explained(root: Path):
    text = (root / "docs" / "doctor.md").read_text()
    rows = {
        line.split("|")[1].strip(" `"): line.split("|")[2].strip()
        for line in text.splitlines()
        if line.startswith("| `")
    }
    assert rows == CHECKS
