"""A picture with 2,000 objects and one of 10,000 x 30 pixels, from the file to the gradients."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from detection.data.coco_dataset import CocoDataset
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import PreparedPictures
from detection.model.detector import FasterRCNN
from training.loader import Item

# Every decoded mask brings one, from inside pycocotools.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def open_picture(folder: Path, size: tuple[int, int], rows: int, columns: int) -> CocoDataset:
    """One picture of noise, (height, width), covered by a grid of boxes with masks that fill them."""
    height, width = size
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    w, h = width / columns, height / rows
    boxes = [[x * w, y * h, w, h] for y in range(rows) for x in range(columns)]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": height, "width": width}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {
                "id": i,
                "image_id": 1,
                "category_id": 1,
                "bbox": box,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
            }
            for i, box in enumerate(boxes)
            for x, y in [box[:2]]
        ],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return CocoDataset(folder / "a.json", folder, masks=True)


def train_and_look(model: FasterRCNN, samples: PreparedPictures) -> None:
    """A step and a prediction; every gradient must be a number, every box inside the picture."""
    batch = samples.read([Item(0, seed) for seed in (0, 1)])
    losses = model.train()(batch)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    with torch.no_grad():
        found = model.eval()(batch)
    inside = (found.boxes >= 0) & (found.boxes <= batch.sizes.flip(1).repeat(1, 2)[:, None])
    assert inside.all()


@pytest.mark.parametrize("limit", [200, 2000])
def test_two_thousand_objects(tmp_path: Path, detector: Callable[..., FasterRCNN], limit: int):
    dataset = open_picture(tmp_path, (250, 400), 40, 50)
    samples = PreparedPictures(dataset, DataConfig(short_side=125, max_side=200, max_boxes=limit))
    assert samples.read([Item(0, 0)]).valid.sum() == limit
    train_and_look(detector(1), samples)


def test_masks_of_two_thousand_objects_take_the_memory_of_those_kept(tmp_path: Path):
    dataset = open_picture(tmp_path, (250, 400), 40, 50)
    masks = (
        PreparedPictures(dataset, DataConfig(short_side=125, max_side=200), masks=True)
        .read([Item(0, 0)])
        .masks
    )
    assert masks is not None
    assert masks.shape == (1, 200, 128, 224 // 8)
    assert masks.any(dim=(2, 3)).all()


@pytest.mark.parametrize("size", [(30, 10_000), (10_000, 30)], ids=str)
@pytest.mark.parametrize("jitter", [{}, {"jitter": (0.5, 2.0), "crop": 512}], ids=["plain", "jitter"])
def test_a_line_of_pixels(
    tmp_path: Path, detector: Callable[..., FasterRCNN], size: tuple[int, int], jitter: dict
):
    # To at most 1,000 pixels: 3 x 1,000. Boxes of 30 x 33 become 3 x 3.3, all are kept.
    dataset = open_picture(tmp_path, size, max(1, size[0] // 33), max(1, size[1] // 33))
    samples = PreparedPictures(
        dataset, DataConfig(short_side=600, max_side=1000, max_boxes=400, **jitter), masks=True
    )
    sample = samples[Item(0, 0)]
    if not jitter:
        assert sorted(sample.image.shape) == [3, 3, 1000] and len(sample.boxes) == 303
    assert sample.masks is not None and len(sample.masks) == len(sample.boxes) > 0
    train_and_look(detector(1), samples)


def test_objects_much_thinner_than_a_pixel(tmp_path: Path, detector: Callable[..., FasterRCNN]):
    # Resized, every box is 1,000 x 0.1 pixels: kept while it has area. Of 30 masks in three rows of pixels
    # three have a pixel.
    dataset = open_picture(tmp_path, (30, 10_000), 30, 1)
    assert len(PreparedPictures(dataset, DataConfig(short_side=600, max_side=1000))[Item(0, 0)].boxes) == 30
    assert (
        len(
            PreparedPictures(dataset, DataConfig(short_side=600, max_side=1000), masks=True)[Item(0, 0)].boxes
        )
        == 3
    )
    train_and_look(detector(1), PreparedPictures(dataset, DataConfig(short_side=600, max_side=1000)))
