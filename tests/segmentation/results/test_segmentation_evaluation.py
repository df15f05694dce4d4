"""Folders of label maps are scored without a network; tests/pipeline scores networks."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foundation.errors import OptionError, UserError
from segmentation.data.label_maps import write_label_map
from segmentation.data.segmentation_sets import SegmentationData, open_set
from segmentation.results.counted_pictures import load_counted_pictures
from segmentation.results.segmentation_evaluation import evaluate_segmentation
from segmentation.types import IGNORED
from tests.segmentation.conftest import LabelWriter, blocks


@pytest.fixture
def answers(tmp_path: Path) -> tuple[Path, list[str]]:
    """The truth of Shapes as predictions, background where it is ignored, and the keys of the set."""
    data = SegmentationData("shapes", str(tmp_path / "data"))
    dataset = open_set(data, "val")
    (tmp_path / "found").mkdir()
    for index in range(len(dataset)):
        labels = dataset.load_labels(index)
        file = tmp_path / "found" / f"{dataset.image_id(index)}.png"
        write_label_map(file, np.where(labels == IGNORED, 0, labels).astype(np.uint8))
    return tmp_path / "found", ["data.kind=shapes", f"data.root={tmp_path / 'data'}"]


def score(folder: Path, keys: list[str], **more: object) -> dict:
    result = evaluate_segmentation(weights=None, predictions=folder, overrides=keys, **more)
    assert result is not None
    return result


def test_the_truth_is_perfect(answers: tuple[Path, list[str]], tmp_path: Path):
    result = score(*answers, boundaries=True, bootstrap=20, out=tmp_path / "out")
    boundary = result["scores"].pop("boundary_F")  # what is ignored in the truth is background here
    assert 0.999 < boundary <= 1
    assert set(result["scores"].values()) == {1.0} and set(result["class_iou"].values()) == {1.0}
    assert result["interval"]["mIoU"] == [1, 1] and (tmp_path / "out" / "result.json").is_file()
    kept = load_counted_pictures(tmp_path / "out" / "per_picture.npz")
    dataset = open_set(SegmentationData("shapes", str(tmp_path / "data")), "val")
    assert (kept.fingerprint, kept.classes) == (dataset.fingerprint(), dataset.classes)
    assert kept.ids[7] == dataset.image_id(7)
    labels = dataset.load_labels(7)
    assert kept.counts.hits[7].tolist() == [
        int((labels == label).sum()) for label in range(len(kept.classes))
    ]


def test_one_wrong_picture(answers: tuple[Path, list[str]]):
    folder, keys = answers
    file = sorted(folder.glob("*.png"))[0]
    dataset = open_set(SegmentationData("shapes", keys[1].removeprefix("data.root=")), "val")
    labels = dataset.load_labels(0)
    write_label_map(file, np.zeros_like(labels))
    shapes = int(((labels > 0) & (labels != IGNORED)).sum())
    counted = sum(int((dataset.load_labels(i) != IGNORED).sum()) for i in range(len(dataset)))
    assert score(folder, keys)["scores"]["pixel_accuracy"] == pytest.approx(1 - shapes / counted)


def test_a_network_without_a_block(write_folders: LabelWriter, segmenter_weights: Path):
    root = write_folders({"a": np.arange(24 * 32).reshape(24, 32) % 3})
    (root / "classes.txt").write_text("ground\ncat\ndog\n")
    Image.fromarray(blocks()[:24, :32]).save(root / "images" / "a.jpg")
    keys = ["data.kind=folder", f"data.root={root}", "data.val=all", "run.device=cpu", "run.workers=0"]

    def scored(*without: str) -> dict:
        found = evaluate_segmentation(weights=segmenter_weights, predictions=None, without=[*without, *keys])
        assert found is not None
        return found

    whole, lesioned = scored(), scored("res3.1", "res4.2")
    assert lesioned["evaluated"]["without"] == ["res3.1", "res4.2"] and "without" not in whole["evaluated"]
    assert lesioned["scores"]["mIoU"] != whole["scores"]["mIoU"]
    with pytest.raises(OptionError, match="unknown block 'res3.9'"):
        scored("res3.9")


def test_arguments_without_effect(answers: tuple[Path, list[str]], tmp_path: Path):
    folder, keys = answers
    with pytest.raises(UserError, match="--masks belongs to --weights"):
        score(folder, keys, masks=tmp_path / "m")
    with pytest.raises(UserError, match="--without belongs to --weights"):
        score(folder, keys, without=["res3.1"])
    with pytest.raises(UserError, match="--bootstrap must be 1 or more resamples, got 0"):
        score(folder, keys, bootstrap=0)
    with pytest.raises(UserError, match="give --weights FILE, or --predictions FOLDER"):
        evaluate_segmentation(weights=None, predictions=None)
