"""Weighted boxes fusion against its authors' package, which needs numba and pandas and is no dependency."""

import numpy as np
import pytest
import torch

from detection.improve.box_fusion import FUSION_IOU, fuse

ensemble_boxes = pytest.importorskip("ensemble_boxes")


@pytest.mark.parametrize("seed", range(300))
def test_equal_to_ensemble_boxes(seed: int):
    rng = np.random.default_rng(seed)
    number, objects = int(rng.integers(1, 6)), rng.random((5, 4))
    boxes, scores, labels = [], [], []
    for _ in range(number):
        found = int(rng.integers(0, 12))
        place = objects[rng.integers(0, 5, found)]
        corner = 0.1 + 0.4 * place[:, :2] + rng.normal(0, 0.02, (found, 2))
        side = (0.05 + 0.3 * place[:, 2:]) * np.exp(rng.normal(0, 0.15, (found, 2)))
        boxes.append(np.concatenate([corner, corner + side], axis=1).clip(0, 1))
        scores.append(rng.uniform(0.05, 1, found))
        labels.append(rng.integers(1, 4, found))
    expected = ensemble_boxes.weighted_boxes_fusion(boxes, scores, labels, iou_thr=FUSION_IOU)
    together = (torch.from_numpy(np.concatenate(values)) for values in (boxes, scores, labels))
    ours = fuse(*together, lambda means: torch.full((len(means),), number))
    rows = sorted(zip(ours.labels.tolist(), ours.scores.tolist(), ours.boxes.tolist(), strict=True))
    theirs = sorted(zip(*(expected[i].tolist() for i in (2, 1, 0)), strict=True))
    assert [row[0] for row in rows] == [row[0] for row in theirs]
    # Their means are in single precision.
    flat = [np.concatenate([[row[1], *row[2]] for row in of]) if of else [] for of in (rows, theirs)]
    np.testing.assert_allclose(*flat, atol=2e-6)
