"""Which detections and objects are the worst, and how they are drawn."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from detection.metrics.conventions import VOC12, match_pictures
from detection.metrics.matching import Matched
from detection.results.worst_cases import Case, draw_worst, false_alarms, misses
from detection.types import Prediction, Target


def target(boxes: list, labels: list[int], ignore: list[bool], name: str) -> Target:
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Target(
        tensor,
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(ignore, dtype=torch.bool),
        name,
        (100, 120),
    )


def prediction(boxes: list, labels: list[int], scores: list[float], name: str) -> Prediction:
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Prediction(tensor, torch.tensor(labels, dtype=torch.int64), torch.tensor(scores), name)


# Picture a: a hit (.5), the same object again (.6, so this one is the hit), a difficult object found (.99),
# one of the other class where there is nothing of it (.4); b: something of nothing (.8).
TRUTH = [
    target([[0, 0, 20, 20], [50, 0, 60, 10]], [1, 1], [False, True], "a"),
    target(
        [[0, 0, 30, 30], [40, 40, 60, 60], [60, 60, 100, 100], [0, 90, 5, 95]],
        [1, 2, 1, 1],
        [False] * 4,
        "x/b",
    ),
]
FOUND = [
    prediction(
        [[0, 0, 20, 19], [0, 0, 20, 20], [50, 0, 60, 10], [0, 0, 20, 20]],
        [1, 1, 1, 2],
        [0.5, 0.6, 0.99, 0.4],
        "a",
    ),
    prediction([[0, 0, 30, 8], [40, 40, 60, 60]], [1, 1], [0.8, 0.3], "x/b"),
]


def matched() -> Matched:
    return match_pictures(FOUND, TRUTH, 2, VOC12)


def test_false_alarms_by_score():
    cases = [Case(1, 0, "0.80"), Case(0, 0, "0.50"), Case(0, 3, "0.40"), Case(1, 1, "0.30")]
    assert false_alarms(matched(), 9) == cases
    assert false_alarms(matched(), 2) == cases[:2]


def test_misses_those_never_overlapped_first_then_by_size():
    # b's first object is overlapped by a detection of its class with an IoU of 30 * 8 / 900 = .27; its second
    # only by one of another class.
    cases = [Case(1, 2, "iou0.00"), Case(1, 1, "iou0.00"), Case(1, 3, "iou0.00"), Case(1, 0, "iou0.27")]
    assert misses(matched(), 9) == cases
    assert misses(matched(), 1) == cases[:1]


def test_nothing_is_wrong_with_nothing():
    nothing = match_pictures([], [], 2, VOC12)
    assert false_alarms(nothing, 5) == misses(nothing, 5) == []


def test_crops_are_drawn_with_the_truth_on_the_right(tmp_path: Path):
    for name in ("a", "b"):
        Image.fromarray(np.zeros((100, 120, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    dataset: Any = SimpleNamespace(
        classes=["ape", "bee/fly"], targets=TRUTH, image_path=lambda index: tmp_path / f"{'ab'[index]}.png"
    )
    draw_worst(FOUND, dataset, matched(), tmp_path / "out", 3)
    names = [
        sorted(path.name for path in (tmp_path / "out" / kind).iterdir())
        for kind in ("false_alarms", "misses")
    ]
    assert names == [
        ["001_ape_0.80_b.png", "002_ape_0.50_a.png", "003_bee-fly_0.40_a.png"],
        ["001_ape_iou0.00_b.png", "002_bee-fly_iou0.00_b.png", "003_ape_iou0.00_b.png"],
    ]
    # The miss of 20 x 20 at (40, 40): a crop of 60 x 60 pixels, each 4 wide; left the ape found there, right
    # the missed bee, both edges at 80.
    drawn = np.asarray(Image.open(tmp_path / "out" / "misses" / "002_bee-fly_iou0.00_b.png"))
    assert drawn.shape == (240, 480, 3)
    left, right = drawn[120, 80], drawn[120, 240 + 80]
    assert left.any() and right.any() and left.tolist() != right.tolist()
    assert not drawn[120, 82:158].any() and not drawn[170:, :].any()


def test_none_are_wanted(tmp_path: Path):
    dataset: Any = SimpleNamespace(classes=["ape", "bee"], targets=TRUTH)
    draw_worst(FOUND, dataset, matched(), tmp_path, 0)
    assert not list(tmp_path.rglob("*.png"))


def test_crops_are_named_after_any_class(tmp_path: Path):
    Image.fromarray(np.zeros((100, 120, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    dataset: Any = SimpleNamespace(
        classes=["../\x1b[2J\n", "字" * 300], targets=TRUTH, image_path=lambda index: tmp_path / "a.png"
    )
    draw_worst(FOUND, dataset, matched(), tmp_path / "out", 3)
    names = sorted(path.name for path in (tmp_path / "out" / "misses").iterdir())
    # 200 bytes at most: 4 before the letters of 3 bytes each, 4 after them.
    assert names == ["001_..--[2J-_iou0.00_b.png", f"002_{'字' * 64}.png", "003_..--[2J-_iou0.00_b.png"]
    assert {path.parent.parent for path in tmp_path.rglob("*_*.png")} == {tmp_path / "out"}
