from pathlib import Path

import numpy as np
import pytest

from doctor.diagnosis import diagnose, examine, open_set
from doctor.masks.mask_survey import survey_masks
from foundation.errors import UserError
from tests.segmentation.conftest import save


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder with pictures of noise (20 high, 40 wide), and sound label maps, a quarter of them ignored."""
    root = tmp_path / "mine"
    rng = np.random.default_rng(0)
    for name in "abcdef":
        save(root / "images" / f"{name}.png", rng.integers(0, 256, (20, 40, 3)))
        save(root / "masks" / f"{name}.png", np.repeat([[0, 1, 1, 255]] * 20, 10, axis=1))
    (root / "classes.txt").write_text("ground\nthing\n")
    return root


def found(root: Path) -> dict[tuple[str, str], str]:
    findings = examine(survey_masks(f"segmentation:folder:{root}:all")).findings
    assert len({(finding.check, finding.where) for finding in findings}) == len(findings)
    return {(finding.check, finding.where): finding.detail for finding in findings}


def test_a_sound_set_is_clean(masks: Path):
    details = found(masks)
    counts = "6 pictures, 2 classes, 25.0% of all pixels ignored: thing 66.7%, ground 33.3%"
    assert details == {("class_counts", f"segmentation:folder:{masks}:all"): counts}
    assert diagnose([f"segmentation:folder:{masks}:all"])


def test_every_fault_is_found(masks: Path):
    (masks / "classes.txt").write_text("ground\nthing\nrest\n")
    (masks / "masks" / "a.png").unlink()
    save(masks / "masks" / "b.png", np.zeros((20, 40, 3)))
    save(masks / "masks" / "c.png", [[0, 1, 1, 9] * 10] * 20)
    save(masks / "masks" / "d.png", [[0, 1, 1]])
    save(masks / "masks" / "e.png", [[255] * 40] * 20)
    (masks / "images" / "f.png").write_bytes(b"")
    name = f"segmentation:folder:{masks}:all"
    details = found(masks)
    assert {check for check, _ in details} == {
        *("missing_mask", "unreadable_mask", "unknown_index", "wrong_size", "empty_picture"),
        *("absent_class", "all_ignored", "class_counts"),
    }
    assert details["missing_mask", "a"] == f"no file {masks / 'masks' / 'a.png'}"
    assert "stores colours (mode RGB)" in details["unreadable_mask", "b"]
    assert "the index 9 at row 0, column 3" in details["unknown_index", "c"]
    assert details["wrong_size", "d"] == "stated 3x1, the file has 40x20 (width x height)"
    # Counted are the three pixels of d, and 600 of f.
    assert details["absent_class", name] == "class 2, 'rest': none of 603 labelled pixels is of it"
    assert not diagnose([name])


def test_the_kinds_own_splits(masks: Path):
    (masks / "train.txt").write_text("a\nb\n")
    (masks / "val.txt").write_text("b\nc\n")
    surveys = open_set(f"segmentation:folder:{masks}")
    assert [len(survey.pictures) for survey in surveys] == [2, 2]
    assert "leak" in {finding.check for finding in examine(surveys).findings}


def test_objects_are_drawn_and_secrets_left_alone(coco_root: Path, tmp_path: Path):
    (survey,) = survey_masks(f"segmentation:coco:{coco_root}:val")
    assert survey.classes == ["background", "person", "dog"] and len(survey.pictures) == 3
    assert [finding.check for finding in survey.findings] == ["class_counts"]
    save(tmp_path / "ade" / "images" / "testing" / "x.jpg", np.zeros((3, 3, 3)))
    (tmp_path / "ade" / "classes.txt").write_text("wall\n")
    (secret,) = survey_masks(f"segmentation:ade20k:{tmp_path / 'ade'}:testing")
    assert secret.findings == [] and secret.pictures[0].size is None


def test_other_texts():
    with pytest.raises(UserError, match="KIND as data.kind of segmentation; did you mean 'folder'"):
        survey_masks("segmentation:folders:x")
    with pytest.raises(UserError, match="'segmentation:voc' is no set"):
        survey_masks("segmentation:voc")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        survey_masks("segmentation:folder:nowhere:train")
