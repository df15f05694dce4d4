"""Predictions of others: PNGs of indices, one a picture."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from foundation.errors import UserError
from segmentation.data.label_maps import write_label_map
from segmentation.results.mask_files import check_masks, mask_name, read_prediction

LABELS = np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8)
CLASSES = ["background", "cat", "dog"]


def test_a_prediction(tmp_path: Path):
    write_label_map(tmp_path / mask_name("a"), LABELS)
    assert np.array_equal(read_prediction(tmp_path, "a", (2, 3), CLASSES), LABELS)


def test_of_another_size(tmp_path: Path):
    write_label_map(tmp_path / "a.png", LABELS)
    with pytest.raises(
        UserError, match=r"a\.png is 2x3 \(height x width\), its picture 3x2; write predictions"
    ):
        read_prediction(tmp_path, "a", (3, 2), CLASSES)


@pytest.mark.parametrize(
    ("index", "text"), [(7, "index 7, expected 0 to 2; write"), (255, "may leave out no pixel")]
)
def test_an_index_of_no_class(tmp_path: Path, index: int, text: str):
    write_label_map(tmp_path / "a.png", np.where(LABELS == 1, index, LABELS).astype(np.uint8))
    with pytest.raises(UserError, match=text):
        read_prediction(tmp_path, "a", (2, 3), CLASSES)


class Named(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.ids)

    def image_id(self, index: int) -> str:
        return self.ids[index]


def test_predictions_that_are_missing(tmp_path: Path):
    write_label_map(tmp_path / "a.png", LABELS)
    with pytest.raises(UserError, match=r"b\.png is missing, and 2 predictions of 3 in all"):
        check_masks(tmp_path, Named(ids=["a", "b", "c"]))
    check_masks(tmp_path, Named(ids=["a"]))
    with pytest.raises(UserError, match="no folder .*nowhere; expected a PNG of indices for each picture"):
        check_masks(tmp_path / "nowhere", Named(ids=["a"]))
