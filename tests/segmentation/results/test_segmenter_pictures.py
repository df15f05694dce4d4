"""The pictures of a training: what is shown of a batch and of the validation pictures."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from segmentation.data.segmentation_batches import LabelledPictures
from segmentation.data.segmentation_sets import SegmentationData, open_set
from segmentation.results.segmenter_pictures import SegmenterPictures, class_counts, draw_batch
from training.loader import Item


def test_of_a_training(tmp_path: Path):
    data = SegmentationData("shapes", str(tmp_path / "data"), crop=64)
    training, validation = open_set(data, "train"), open_set(data, "val")
    drawn = SegmenterPictures(tmp_path / "run", training, validation)
    batch = LabelledPictures(training, data, training=True).read([Item(0, 1), Item(1, 2)])
    assert next(iter(drawn.of_start([batch]))) is batch
    assert (tmp_path / "run" / "labels.png").is_file()
    assert Image.open(tmp_path / "run" / "batches" / "batch_1.jpg").width >= 2 * 64
    for index in range(len(validation)):
        drawn.keep(index, torch.from_numpy(validation.load_labels(index).copy()))
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    drawn.draw(True)
    shown = sorted((tmp_path / "run" / "validation").glob("*.jpg"))
    assert len(shown) == 6
    both = np.asarray(Image.open(shown[0]).convert("RGB")).astype(int)
    half = both.shape[1] // 2
    assert (
        np.abs(both[:, :half] - both[:, half : 2 * half]).mean() < 4
    )  # the truth beside itself, but for JPEG


def test_pixels_of_each_class(tmp_path: Path):
    data = SegmentationData("shapes", str(tmp_path / "data"))
    dataset = open_set(data, "val")
    counts = class_counts(dataset)
    maps = [dataset.load_labels(index) for index in range(len(dataset))]
    assert counts.tolist() == [sum(int((m == k).sum()) for m in maps) for k in range(len(dataset.classes))]


def test_a_batch_is_drawn_with_its_classes(tmp_path: Path):
    data = SegmentationData("shapes", str(tmp_path / "data"), crop=64)
    batch = LabelledPictures(open_set(data, "train"), data, training=True).read([Item(0, 1)])
    plain = draw_batch(type(batch)(batch.images, 0 * batch.labels, batch.sizes, batch.seeds, batch.ids))
    assert np.asarray(draw_batch(batch)).shape == np.asarray(plain).shape
    assert not np.array_equal(np.asarray(draw_batch(batch)), np.asarray(plain))
