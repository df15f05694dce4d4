"""Several looks at a picture give one answer: by a stand-in that finds coloured blocks, and by a detector."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import detection
from backbones import save_weights
from detection.build import build_detector, detector_header
from detection.config import DetectionConfig
from detection.data.dataset_splits import DataConfig
from detection.heads.candidates import Detections
from detection.heads.roi_options import RoiConfig
from detection.improve import improved_predictions as module
from detection.improve.improve_options import ImproveOptions
from detection.improve.improved_predictions import Improver
from detection.improve.tiles import regions_of, seen_whole
from detection.loaded_detector import Detector
from detection.results.pasted_masks import decode_mask, paste_masks
from detection.types import Batch, Prediction
from training.config import load_config

Block = tuple[int, int, int, int]  # x1, y1, x2, y2


class BlockFinder:
    """Finds in each colour channel the box around all that is bright, with a mask that fills it.

    Labels are 1, 2, 3 for red, green and blue; a score grows with the width, so that of two parts of an
    object the larger is the better.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: Batch) -> Detections:
        self.shapes.append(tuple(batch.images.shape))
        boxes, valid = (
            torch.zeros(len(batch.images), 3, 4),
            torch.zeros(len(batch.images), 3, dtype=torch.bool),
        )
        for i, image in enumerate(batch.images):
            for channel in range(3):
                rows, columns = (image[channel] >= 128).nonzero(as_tuple=True)
                if len(rows):
                    ends = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
                    boxes[i, channel], valid[i, channel] = torch.stack(ends).float(), True
        scores = 0.3 + (boxes[..., 2] - boxes[..., 0]) / (2 * batch.sizes[:, 1:])
        labels = torch.arange(1, 4).expand(len(boxes), 3)
        return Detections(boxes, scores, labels, valid, torch.ones(len(boxes), 3, 4, 4))


def blocks_picture(size: tuple[int, int], blocks: list[Block]) -> np.ndarray:
    picture = np.zeros((*size, 3), dtype=np.uint8)
    for channel, (x1, y1, x2, y2) in enumerate(blocks):
        picture[y1:y2, x1:x2, channel] = 255
    return picture


def improver(data: DataConfig | None = None, **options: Any) -> Improver:
    data = data or DataConfig(short_side=64, max_side=2000)
    return Improver(ImproveOptions(**options), DetectionConfig(data=data, roi=RoiConfig(nms_threshold=0.5)))


side = st.integers(40, 200)


@settings(deadline=None, max_examples=30)
@given(st.tuples(side, side), st.sampled_from([0.0, 0.2, 0.5]), st.sampled_from(["nms", "wbf"]), st.data())
def test_every_object_is_reported_once(
    size: tuple[int, int], overlap: float, merge: str, data: st.DataObject
):
    # Whatever tiles of 64 cut: no object is missing, and no part of one stands beside it.
    blocks = []
    for _ in range(data.draw(st.integers(1, 3))):
        x1, y1 = data.draw(st.integers(0, size[1] - 20)), data.draw(st.integers(0, size[0] - 20))
        blocks.append(
            (x1, y1, data.draw(st.integers(x1 + 20, size[1])), data.draw(st.integers(y1 + 20, size[0])))
        )
    found = improver(tiles=64, overlap=overlap, merge=merge).find(BlockFinder(), blocks_picture(size, blocks))
    assert sorted(found.labels.tolist()) == list(range(1, len(blocks) + 1))
    # The whole picture is resized to a short side of 64, where an edge is found to half a pixel.
    loose = max(1.0, min(size) / 64)
    for label, box in zip(found.labels.tolist(), found.boxes, strict=True):
        assert (box - torch.tensor(blocks[label - 1])).abs().max() <= loose


def test_objects_cut_by_tiles_by_hand():
    # Tiles of 64 at 0, 51 and 76 of 140 pixels; red is in the overlap of the first two and cut by the first,
    # green larger than any overlap and seen by the whole alone, blue in both of the last two.
    windows = regions_of((64, 140), 64, 0.2)
    assert [window[1] for window in windows] == [0, 51, 76, 0]
    blocks = [(53, 10, 75, 30), (20, 5, 100, 60), (90, 20, 110, 40)]
    picture, network = blocks_picture((64, 140), blocks), BlockFinder()
    found = improver(tiles=64).find(network, picture)
    # Tiles in one batch, the whole in another; padded to multiples of 32.
    assert network.shapes == [(3, 3, 64, 64), (1, 3, 64, 160)]
    assert found.labels.tolist() == [2, 1, 3]
    assert found.boxes.tolist() == [list(blocks[label - 1]) for label in (2, 1, 3)]
    assert found.masks == paste_masks(torch.ones(3, 4, 4), found.boxes, (64, 140))


def test_fusion_asks_how_many_looks_could_see_an_object():
    # Blue is seen whole by two tiles of three, red by one: neither loses for what others could not see.
    picture = blocks_picture((64, 140), [(5, 10, 30, 30), (0, 0, 0, 0), (90, 20, 110, 40)])
    found = improver(tiles=64, merge="wbf").find(BlockFinder(), picture)
    assert found.labels.tolist() == [1, 3]
    assert found.scores.tolist() == pytest.approx([0.3 + 25 / 128, 0.3 + 20 / 128])

    class Blind(BlockFinder):
        """Does not see blue in the last tile."""

        def __call__(self, batch: Batch) -> Detections:
            detections = super().__call__(batch)
            if len(batch.images) == 3:
                detections.valid[2, 2] = False
            return detections

    found = improver(tiles=64, merge="wbf").find(Blind(), picture)
    assert found.scores.tolist() == pytest.approx([0.3 + 25 / 128, (0.3 + 20 / 128) / 2])


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_a_picture_without_objects(merge: str):
    found = improver(tiles=64, tta="flip,scales", merge=merge).find(
        BlockFinder(), blocks_picture((90, 150), [])
    )
    assert found.boxes.shape == (0, 4) and found.masks == [] and found.labels.dtype == torch.int64


def test_mirrored_and_resized_copies_agree():
    # Everywhere whole pixels: a file of 60 x 120 seen at 30, 60 and 120.
    block = (20, 10, 50, 40)
    picture = blocks_picture((60, 120), [block])
    data, network = DataConfig(short_side=60, max_side=120), BlockFinder()
    found = improver(data, tta="flip,scales=30:60:120", merge="wbf").find(network, picture)
    assert [shape[2:] for shape in network.shapes] == [(32, 64)] * 2 + [(64, 128)] * 2 + [(128, 256)] * 2
    assert found.boxes.tolist() == [list(block)] and found.scores.tolist() == pytest.approx([0.3 + 30 / 240])
    assert found.masks == paste_masks(torch.ones(1, 4, 4), found.boxes, (60, 120))


def test_masks_of_augmented_pictures_are_read_for_the_final_boxes_and_averaged():
    block, asked = (20, 10, 50, 40), []
    looks = [torch.tensor([[0.9, 0.2], [0.9, 0.2]]), torch.tensor([[0.7, 0.3], [0.3, 0.3]])]

    def masks_of(boxes: Tensor, labels: Tensor, batch: Batch) -> Tensor:
        asked.append((boxes.tolist(), labels.tolist(), tuple(batch.images.shape[2:])))
        return looks[len(asked) - 1][None, None]

    data = DataConfig(short_side=60, max_side=120)
    picture = blocks_picture((60, 120), [block])
    found = improver(data, tta="flip").find(BlockFinder(), picture, masks_of)
    mirrored = [120 - block[2], block[1], 120 - block[0], block[3]]
    assert asked == [([[list(block)]], [[1]], (64, 128)), ([[mirrored]], [[1]], (64, 128))]
    # The second look is mirrored back: (0.9 + 0.3) / 2, (0.2 + 0.7) / 2; (0.9 + 0.3) / 2, (0.2 + 0.3) / 2.
    mean = torch.tensor([[[0.6, 0.45], [0.6, 0.25]]])
    assert found.masks == paste_masks(mean, found.boxes, (60, 120))


def test_a_region_gives_as_many_objects_as_configured():
    picture = blocks_picture((64, 64), [(0, 0, 20, 20), (30, 0, 60, 30), (0, 40, 64, 60)])
    config = DetectionConfig(
        data=DataConfig(short_side=64, max_side=64), roi=RoiConfig(detections_per_image=2)
    )
    assert Improver(ImproveOptions(tta="flip"), config).find(BlockFinder(), picture).labels.tolist() == [3, 2]


@pytest.fixture(scope="module", params=[False, True], ids=["boxes", "masks"])
def weights(request: pytest.FixtureRequest, tiny_options: list[str], tmp_path_factory: Any) -> Path:
    """A tiny detector of random weights that finds something everywhere."""
    torch.manual_seed(0)
    options = [*tiny_options, "backbone.norm=batch", "backbone.frozen_stages=0", "roi.size=4"]
    options += ["data.max_side=200", "roi.nms_threshold=0.5", "rpn.post_nms_test=20"]
    config = load_config(DetectionConfig, None, [*options, f"detector.mask={request.param}".lower()])
    model, file = build_detector(config, 2), tmp_path_factory.mktemp("detector") / "best.safetensors"
    header = detector_header(model, config, ["person", "dog"], {}, category_ids=[1, 18])
    save_weights(file, model.state_dict(), header)
    return file


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """(70, 150, 3), smooth enough to look alike when it is mirrored."""
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(90, 160, (7, 15, 3), dtype=np.uint8), np.ones((10, 10, 1), dtype=np.uint8))


def find(weights: Path, picture: np.ndarray, **options: Any) -> Prediction:
    (found,) = detection.load(weights, device="cpu", **options).find([picture])
    assert len(found.boxes) > 3
    return found


def check_equal(found: Prediction, expected: Prediction, *, exactly: bool = False) -> None:
    near = {"rtol": 0.0, "atol": 0.0} if exactly else {"rtol": 1e-4, "atol": 1e-3}
    for name in ("boxes", "scores", "labels"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), **near)
    if exactly:
        assert found.masks == expected.masks


def test_a_picture_within_a_tile_is_predicted_as_ever(weights: Path, pixels: np.ndarray):
    for picture in (pixels, pixels[:, :40]):
        for tiles in (150, 1000):
            check_equal(find(weights, picture, tiles=tiles), find(weights, picture), exactly=True)


def test_tiles_against_a_slow_version(weights: Path, pixels: np.ndarray):
    plain: Detector = detection.load(weights, device="cpu")
    windows, size = regions_of((70, 150), 64, 0.25), (70, 150)
    rows: list[tuple[Tensor, Tensor, Tensor]] = []
    for region, (top, left, height, width) in enumerate(windows):
        (found,) = plain.find([pixels[top : top + height, left : left + width]])
        boxes = found.boxes + torch.tensor([left, top, left, top])
        whole = seen_whole(boxes, windows, size)
        speaks = ~whole[:, :-1].any(dim=1) if region == len(windows) - 1 else whole[:, region]
        rows += [*zip(boxes[speaks], found.scores[speaks], found.labels[speaks], strict=True)]
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for box, score, label in sorted(rows, key=lambda row: -row[1].item()):
        rivals = [one for one, _, other in kept if other == label]
        if all(iou(box, one) <= 0.5 for one in rivals):
            kept.append((box, score, label))
    boxes, scores, labels = (torch.stack(values) for values in zip(*kept, strict=True))
    found = find(weights, pixels, tiles=64, overlap=0.25)
    check_equal(found, Prediction(boxes, labels, scores))


def iou(one: Tensor, other: Tensor) -> float:
    shared = (torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])).clamp(min=0).prod()
    areas = (one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod()
    return (shared / (areas - shared)).item()


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_a_mirrored_picture_gives_the_mirrored_answer(weights: Path, pixels: np.ndarray, merge: str):
    options = {"tta": "flip", "merge": merge}
    found = find(weights, pixels, **options)
    mirrored = find(weights, np.ascontiguousarray(pixels[:, ::-1]), **options)
    x1, y1, x2, y2 = mirrored.boxes.unbind(dim=1)
    back = torch.stack([150 - x2, y1, 150 - x1, y2], dim=1)
    check_equal(found, Prediction(back, mirrored.labels, mirrored.scores))
    for one, other in zip(found.masks or [], mirrored.masks or [], strict=True):
        assert (decode_mask(one) != decode_mask(other)[:, ::-1]).mean() < 1e-3
    plain = find(weights, pixels)
    assert len(found.scores) != len(plain.scores) or not torch.equal(found.scores, plain.scores)


def test_batches_of_tiles_change_nothing(weights: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    together = find(weights, pixels, tiles=32)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    check_equal(find(weights, pixels, tiles=32), together)
    monkeypatch.setattr(module, "AT_ONCE", 3)
    check_equal(find(weights, pixels, tiles=32), together)


@pytest.mark.parametrize("merge", ["nms", "wbf"])
def test_lists_give_what_their_pictures_give(weights: Path, pixels: np.ndarray, merge: str):
    detector = detection.load(weights, device="cpu", tiles=64, tta="flip,scales=48:64", merge=merge)
    upright = np.ascontiguousarray(pixels.transpose(1, 0, 2))
    first, second = detector([pixels, upright], threshold=0.1)  # type: ignore[misc]
    for one, picture in ((first, pixels), (second, upright)):
        check_equal(one.prediction, detector(picture, threshold=0.1).prediction, exactly=True)  # type: ignore[union-attr]
        assert len(one) > 0 and (one.masks is None or one.masks.shape == (len(one), *picture.shape[:2]))
