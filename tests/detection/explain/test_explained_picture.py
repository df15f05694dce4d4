"""The picture of explained detections: its cells."""

import numpy as np
import torch

from detection.explain import explained_picture
from detection.explain.explained_picture import draw_explained
from detection.types import Prediction
from pictures.run_pictures.picture_grid import GAP, fitting


class Named:
    classes = ("person", "dog")


def test_the_strongest_detections_are_drawn_each_over_its_heat(monkeypatch):
    asked = []

    def explain(detector, pixels, prediction):
        asked.append(prediction.scores.tolist())
        heat = np.zeros(pixels.shape[:2], dtype=np.float32)
        heat[:10, :10] = 1
        return [heat] * len(prediction.scores)

    monkeypatch.setattr(explained_picture, "explain_detections", explain)
    pixels = np.full((100, 120, 3), 50, dtype=np.uint8)
    boxes = torch.tensor([[20.0, 20, 60, 90]]).expand(3, 4).contiguous()
    found = Prediction(boxes, torch.tensor([1, 2, 1]), torch.tensor([0.5, 0.75, 0.25]))
    drawn = np.asarray(draw_explained(Named(), pixels, found, 2))
    assert asked == [[0.75, 0.5]]
    assert drawn.shape == (100, 3 * 120 + 2 * GAP, 3)
    cells = [drawn[:, start : start + 120] for start in (0, 120 + GAP, 240 + 2 * GAP)]
    assert (cells[0][:10, :10] == 50).all()
    for cell in cells[1:]:
        assert (cell[:10, :10] != 50).any() and (cell[:20, 100:] == 50).all()
        assert (cell[20, 30:50] != 50).any()  # the box's upper edge
    large = np.zeros((700, 1400, 3), dtype=np.uint8)
    nothing = found.of_rows(torch.zeros(0, dtype=torch.int64))
    assert draw_explained(Named(), large, nothing, 2).size == (640, 320)  # the picture alone


def test_one_heat_map_of_a_large_picture_is_held_at_a_time(monkeypatch):
    order = []

    def explain(detector, pixels, prediction):
        for _ in prediction.scores:
            order.append("heat")
            yield np.zeros(pixels.shape[:2], dtype=np.float32)

    def fit(cell, longest):
        order.append("small")
        return fitting(cell, longest)

    monkeypatch.setattr(explained_picture, "explain_detections", explain)
    monkeypatch.setattr(explained_picture, "fitting", fit)
    boxes = torch.tensor([[20.0, 20, 60, 90]]).expand(2, 4).contiguous()
    found = Prediction(boxes, torch.tensor([1, 2]), torch.tensor([0.5, 0.75]))
    draw_explained(Named(), np.zeros((100, 700, 3), dtype=np.uint8), found, 9)
    assert order == ["small", "heat", "small", "heat", "small"]
