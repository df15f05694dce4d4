"""Files of boxes come back as they were written, and damaged ones are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detection.localization.box_lists import BoxLists, load_lists, pack_lists, require_same
from foundation.errors import UserError


@pytest.fixture
def lists() -> BoxLists:
    """Class 2 in the first picture with two boxes, class 1 there with one, class 2 in the third without."""
    first = torch.tensor([[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 3.0, 3.0]])
    found = [
        (0, 2, first, torch.tensor([0.9, 0.5])),
        (0, 1, first[1:], torch.tensor([0.25])),
        (2, 2, first[:0], torch.zeros(0)),
    ]
    return pack_lists(["a", "b", "c"], ["cat", "dog"], found, {"weights": "w"})


def test_lists_by_picture_and_class(lists: BoxLists):
    boxes, scores = lists.of(0, 2)
    assert boxes.tolist() == [[0, 0, 4, 4], [1, 1, 3, 3]]
    assert scores.tolist() == pytest.approx([0.9, 0.5])
    assert lists.of(0, 1)[1].tolist() == [0.25]
    assert [len(part) for part in lists.of(2, 2)] == [0, 0]  # looked for, not found
    assert [len(part) for part in lists.of(1, 1)] == [0, 0]  # nobody looked


def test_a_file_gives_back_what_was_saved(lists: BoxLists, tmp_path: Path):
    lists.save(tmp_path / "boxes.npz")
    read = load_lists(tmp_path / "boxes.npz")
    assert (read.ids, read.classes, read.about) == (lists.ids, lists.classes, {"weights": "w"})
    for name in ("pictures", "labels", "starts", "boxes", "scores"):
        assert torch.equal(getattr(read, name), getattr(lists, name)), name


def test_lists_without_any_pair(tmp_path: Path):
    pack_lists(["a"], ["cat"], [], {}).save(tmp_path / "none.npz")
    assert len(load_lists(tmp_path / "none.npz").pictures) == 0


def test_no_such_file(tmp_path: Path):
    with pytest.raises(UserError, match=r"none\.npz: no such file; give a file that tools/eval_loc\.py"):
        load_lists(tmp_path / "none.npz")


def test_a_file_of_something_else(tmp_path: Path):
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(UserError, match=r"text\.npz: is damaged or of another kind .*; give a file"):
        load_lists(tmp_path / "text.npz")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("labels", np.array([2, 3, 2]), "do not fit together"),  # there are two classes
        ("starts", np.array([0, 2, 3, 4]), "do not fit together"),  # there are three boxes
        ("pictures", np.array([0, 2, 0]), "do not fit together"),  # not ascending
        ("scores", np.array([0.9, np.nan, 0.25], dtype=np.float32), "do not fit together"),
        ("boxes", np.zeros(12, dtype=np.float32), r"boxes is float32 \(12,\), expected kind 'f' of 2"),
    ],
)
def test_impossible_values(lists: BoxLists, tmp_path: Path, name: str, value: np.ndarray, text: str):
    lists.save(tmp_path / "boxes.npz")
    with np.load(tmp_path / "boxes.npz") as archive:
        arrays = dict(archive) | {name: value}
    np.savez(tmp_path / "boxes.npz", **arrays)
    with pytest.raises(UserError, match=text):
        load_lists(tmp_path / "boxes.npz")


def test_another_version(lists: BoxLists, tmp_path: Path):
    lists.save(tmp_path / "boxes.npz")
    with np.load(tmp_path / "boxes.npz") as archive:
        arrays = dict(archive) | {"about": np.array('{"version": 99}')}
    np.savez(tmp_path / "boxes.npz", **arrays)
    with pytest.raises(UserError, match="is of another version, expected 1"):
        load_lists(tmp_path / "boxes.npz")


def test_an_ensemble_needs_the_same_pictures(lists: BoxLists):
    other = pack_lists(["a", "x", "c"], ["cat", "dog"], [], {})
    with pytest.raises(UserError, match=r"A has 3 pictures, B has 3, the first that differ are 'b' and 'x'"):
        require_same(lists, other, ("A", "B"))
