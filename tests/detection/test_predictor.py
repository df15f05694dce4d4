"""From a detector's fixed shapes to predictions in the pixels of each file."""

import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from detection import predictor as module
from detection.build import load_detector
from detection.data.dataset_splits import DataConfig
from detection.data.detection_batches import PreparedPictures, evaluation_batches
from detection.data.picture_folder import PictureFolder
from detection.heads.candidates import Detections
from detection.predictor import guess_evaluation, predict, predict_dataset, to_predictions
from detection.results.pasted_masks import decode_mask
from detection.types import Batch
from training.config import RunConfig
from training.progress.remaining_time import seconds_each

DATA = DataConfig(short_side=64, max_side=96)
RUN = RunConfig(device="cpu", workers=0)


class WholePicture(nn.Module):
    """Finds in every picture one object of label 1 that fills it; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[list[str], bool, bool]] = []

    def forward(self, batch: Batch) -> Detections:
        self.seen.append((batch.ids, self.training, torch.is_inference_mode_enabled()))
        height, width = batch.sizes.float().unbind(dim=1)
        zero = torch.zeros_like(width)
        boxes = torch.stack([zero, zero, width, height], dim=1)[:, None]
        ones = torch.ones(len(boxes), 1)
        return Detections(boxes, ones / 2, ones.long(), ones.bool())


@pytest.fixture
def pictures(tmp_path: Path) -> PictureFolder:
    """a 30 x 20, b 20 x 40, c 50 x 50 (width x height)."""
    for name, width, height in (("a", 30, 20), ("b", 20, 40), ("c", 50, 50)):
        Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return PictureFolder(tmp_path, ["thing"])


def test_boxes_in_the_pixels_of_the_file():
    # First picture: twice as high, four times as wide as its file; second: half of both.
    detections = Detections(
        boxes=torch.tensor([[[8.0, 4, 16, 12], [4, 2, 8, 4]], [[9.0, 9, 9, 9], [1, 2, 3, 4]]]),
        scores=torch.tensor([[0.9, 0.5], [0.7, 0.6]]),
        labels=torch.tensor([[3, 1], [2, 5]]),
        valid=torch.tensor([[True, True], [False, True]]),
    )
    batch: Any = SimpleNamespace(scales=torch.tensor([[2.0, 4.0], [0.5, 0.5]]))
    first, second = to_predictions(detections, batch)
    assert first.boxes.tolist() == [[2, 2, 4, 6], [1, 1, 2, 2]]
    assert first.labels.tolist() == [3, 1] and first.scores.tolist() == pytest.approx([0.9, 0.5])
    assert second.boxes.tolist() == [[2, 4, 6, 8]] and second.labels.tolist() == [5]
    nothing = to_predictions(detections._replace(valid=torch.zeros(2, 2, dtype=torch.bool)), batch)
    assert [found.boxes.shape for found in nothing] == [(0, 4), (0, 4)]


def test_a_prediction_keeps_nothing_of_its_batch_alive():
    # 100 places a picture, of which two are filled: 10,000 pictures must cost what was found in them.
    detections = Detections(
        boxes=torch.rand(3, 100, 4),
        scores=torch.rand(3, 100),
        labels=torch.ones(3, 100, dtype=torch.int64),
        valid=torch.arange(100).expand(3, 100) < 2,
    )
    batch: Any = SimpleNamespace(scales=torch.ones(3, 2))
    for found in to_predictions(detections, batch):
        sizes = [kept.untyped_storage().nbytes() for kept in (found.boxes, found.scores, found.labels)]
        assert sizes == [2 * 4 * 4, 2 * 4, 2 * 8]


def test_masks_in_the_pixels_of_the_file():
    # A file of 10 x 6 pixels (width x height), seen twice as wide and three times as high.
    masks = torch.zeros(1, 2, 4, 4)
    masks[0, 1, :, :2] = 1
    detections = Detections(
        boxes=torch.tensor([[[0.0, 0, 1, 1], [4, 6, 12, 18]]]),
        scores=torch.tensor([[0.9, 0.5]]),
        labels=torch.tensor([[1, 2]]),
        valid=torch.tensor([[False, True]]),
        masks=masks,
    )
    batch: Any = SimpleNamespace(scales=torch.tensor([[3.0, 2.0]]), sizes=torch.tensor([[18, 20]]))
    (found,) = to_predictions(detections, batch)
    assert found.boxes.tolist() == [[2, 2, 6, 6]] and found.masks is not None
    (mask,) = found.masks
    assert mask["size"] == [6, 10]
    # The left half of the box: columns 2 and 3 of rows 2 to 5.
    assert np.argwhere(decode_mask(mask)).tolist() == [[y, x] for y in range(2, 6) for x in (2, 3)]
    assert to_predictions(detections._replace(masks=None), batch)[0].masks is None


def test_an_error_in_the_thread_reaches_the_caller(pictures: PictureFolder, monkeypatch: pytest.MonkeyPatch):
    def fail(detections: Detections, batch: Batch) -> None:
        if batch.ids == ["b.png"]:
            raise ValueError("no predictions of b")

    monkeypatch.setattr(module, "to_predictions", fail)
    samples = PreparedPictures(pictures, DataConfig(short_side=64, max_side=96, flip=False))
    model: Any = WholePicture()
    with pytest.raises(ValueError, match="no predictions of b"):
        predict(model, evaluation_batches(samples, [1]), bf16=False)


def test_the_next_picture_is_computed_meanwhile(pictures: PictureFolder, monkeypatch: pytest.MonkeyPatch):
    # The first picture's predictions are not ready before the network has begun the second's.
    begun, convert = threading.Event(), module.to_predictions

    class Noted(WholePicture):
        def forward(self, batch: Batch) -> Detections:
            if self.seen:
                begun.set()
            return super().forward(batch)

    def wait(detections: Detections, batch: Batch) -> list:
        assert batch.ids != ["a.png"] or begun.wait(timeout=10)
        return convert(detections, batch)

    monkeypatch.setattr(module, "to_predictions", wait)
    found = predict_dataset(Noted(), pictures, DATA, RUN)  # type: ignore[arg-type]
    assert [p.boxes[0, 2:].round().tolist() for p in found] == [[30, 20], [20, 40], [50, 50]]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_goes_back_to_its_mode(pictures: PictureFolder, training: bool):
    model: Any = WholePicture().train(training)
    samples = PreparedPictures(pictures, DataConfig(short_side=64, max_side=96, flip=False))
    predict(model, evaluation_batches(samples, [1, 0], batch_size=2), bf16=False)
    assert model.seen == [(["b.png", "a.png"], False, True)] and model.training is training


@pytest.mark.parametrize("workers", [0, 2])
def test_a_whole_set_in_its_order_one_picture_at_a_time(
    pictures: PictureFolder, workers: int, monkeypatch: pytest.MonkeyPatch
):
    model: Any = WholePicture()
    monkeypatch.setattr(module, "inference_copy", lambda model: model)  # a copy's notes would be lost
    found = predict_dataset(model, pictures, DATA, RunConfig(device="cpu", workers=workers))
    assert [p.image_id for p in found] == pictures.image_ids == ["a.png", "b.png", "c.png"]
    assert [ids for ids, *_ in model.seen] == [["a.png"], ["b.png"], ["c.png"]]
    boxes = [p.boxes[0].tolist() for p in found]
    assert boxes == [pytest.approx(box) for box in ([0, 0, 30, 20], [0, 0, 20, 40], [0, 0, 50, 50])]


def test_processes_share_the_set(pictures: PictureFolder, monkeypatch: pytest.MonkeyPatch):
    model: Any = WholePicture()
    shares = []
    for number in range(2):
        monkeypatch.setattr(module, "rank", lambda number=number: number)
        monkeypatch.setattr(module, "world_size", lambda: 2)
        monkeypatch.setattr(module, "gather_objects", lambda share: [share])
        shares.append([p.image_id for p in predict_dataset(model, pictures, DATA, RUN)])
    assert shares == [["a.png"], ["b.png", "c.png"]]
    monkeypatch.setattr(module, "gather_objects", lambda share: [["first"], share])
    assert [getattr(p, "image_id", p) for p in predict_dataset(model, pictures, DATA, RUN)] == [
        *("first", "b.png", "c.png")
    ]


@pytest.mark.parametrize("bf16", [False, True])
def test_a_detector(pictures: PictureFolder, detector_weights: Path, bf16: bool):
    model, config, *_ = load_detector(detector_weights)
    run = RunConfig(device="cpu", workers=0, precision="bf16" if bf16 else "fp32")
    found = predict_dataset(model, pictures, config.data, run)
    for prediction, (height, width) in zip(found, pictures.image_sizes, strict=True):
        assert len(prediction.boxes) > 0 and set(prediction.labels.tolist()) <= {1, 2}
        assert prediction.boxes.min() >= 0
        assert (prediction.boxes[:, 2:].amax(dim=0) <= torch.tensor([width, height]) + 1e-3).all()
        assert (prediction.scores.diff() <= 0).all() and prediction.scores.max() <= 1


@pytest.mark.parametrize("training", [True, False])
def test_a_set_is_seen_by_a_folded_copy(pictures: PictureFolder, training: bool):
    class Normalised(WholePicture):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 1, 1), nn.BatchNorm2d(1))

        def forward(self, batch: Batch) -> Detections:
            assert isinstance(self.layers[1], nn.Identity)
            return super().forward(batch)

    model = Normalised().train(training)
    assert len(predict_dataset(model, pictures, DATA, RUN)) == 3  # type: ignore[arg-type]
    assert isinstance(model.layers[1], nn.BatchNorm2d)
    assert all(module.training is training for module in model.modules())


def test_how_long_all_pictures_take_is_guessed_from_the_first(
    pictures: PictureFolder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "TRIED", 2)
    monkeypatch.setattr(module, "inference_copy", lambda network: network)
    seconds = iter([0.0, 1.0, 21.0, 22.0, 25.0])  # read, found; read, found: the second costs 1 + 3
    monkeypatch.setattr(module, "seconds_each", partial(seconds_each, clock=lambda: next(seconds)))
    network: Any = WholePicture().train()
    assert guess_evaluation(network, pictures, DATA, RUN) == 3 * 4.0
    assert [seen[:2] for seen in network.seen] == [(["a.png"], False), (["b.png"], False)]
    assert network.training
