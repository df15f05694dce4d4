"""Anchors against boxes, by hand and at quantiles."""

import numpy as np
import pytest

from detection.model.anchor_fit import best_iou, fit_anchors


def test_best_iou_by_hand():
    # 10 x 10 inside 20 x 20: 100 / 400. Ratio 4 makes 5 wide and 20 high: 50 / (100 + 100 - 50).
    boxes = np.array([[10.0, 10.0]])
    assert best_iou(boxes, [20], [1]) == pytest.approx(0.25)
    assert best_iou(boxes, [10], [4]) == pytest.approx(50 / 150)
    assert best_iou(boxes, [10, 20], [4, 1]) == pytest.approx(1)


def test_suggested_anchors_fit_better():
    rng = np.random.default_rng(0)
    boxes = np.exp(rng.normal(3, 0.5, (500, 2)))
    fit = fit_anchors(boxes, [128, 256, 512], [0.5, 1, 2])
    assert len(fit.sizes) == len(fit.ratios) == 3
    assert fit.suggested.mean() > 0.6 > 0.2 > fit.best.mean()
    assert fit.share(0) == 1 and fit.share(0, 0.3) + fit.share(0.3) == pytest.approx(1)
