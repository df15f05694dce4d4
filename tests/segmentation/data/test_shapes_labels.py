from pathlib import Path

import numpy as np
import pytest

import segmentation.data.shapes_labels as shapes_labels
from foundation.errors import UserError
from pictures.shapes import CLASSES
from segmentation.data.segmentation_sets import check_set
from segmentation.data.shapes_labels import draw_labelled_scene, open_shapes
from segmentation.types import IGNORED

HIDDEN = 103  # a scene with a shape of which too little is seen


def test_a_scene_is_drawn_again_alike():
    first, second = draw_labelled_scene(3, "train"), draw_labelled_scene(3, "train")
    assert np.array_equal(first.image, second.image) and np.array_equal(first.labels, second.labels)
    assert first.image.shape == (*first.labels.shape, 3)


def test_scenes_have_background_shapes_and_what_is_hidden():
    scenes = [draw_labelled_scene(number, "train") for number in [*range(1, 41), HIDDEN]]
    values = np.unique(np.concatenate([np.unique(scene.labels) for scene in scenes]))
    assert values.tolist() == [*range(11), IGNORED]
    shares = [((scene.labels > 0) & (scene.labels < IGNORED)).mean() for scene in scenes]
    assert 0.1 < np.mean(shares) < 0.5
    assert not scenes[24].labels.any()  # every 25th has none


def test_written_as_a_devkit_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shapes_labels, "SPLITS", {"train": 3, "val": 2})
    dataset = open_shapes(tmp_path, "val")
    assert dataset.classes == ["background", *CLASSES]
    assert [dataset.image_id(index) for index in range(len(dataset))] == ["000004", "000005"]
    assert np.array_equal(dataset.load_labels(1), draw_labelled_scene(5, "val").labels)
    assert len(open_shapes(tmp_path, "trainval")) == 5
    check_set(open_shapes(tmp_path, "train"), workers=0)
    with pytest.raises(UserError, match="Shapes has no split 'test'"):
        open_shapes(tmp_path, "test")
