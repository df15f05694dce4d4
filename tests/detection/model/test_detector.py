"""A detector whose proposals come from a trunk of their own."""

from collections.abc import Callable

import torch

from detection.model.detector import FasterRCNN, TwoTrunkRCNN
from detection.model.rpn import Proposals


def test_proposals_come_from_their_own_trunk(detector: Callable, batches: Callable, monkeypatch):
    first, second = detector(seed=1), detector(seed=2)
    model = TwoTrunkRCNN(first.trunk, second.trunk, first.rpn, second.roi_heads)
    batch = batches([(64, 96), (60, 80)], [3, 0])
    for training in (True, False):
        model.train(training), first.train(training)
        expected, losses = first.rpn(first.extract(batch), batch)
        features = second.extract(batch)
        seen: list[tuple[list[torch.Tensor], Proposals]] = []
        name = "losses" if training else "detect"
        monkeypatch.setattr(model.roi_heads, name, lambda *args: seen.append(args[:2]) or {})  # noqa: B023
        found = model(batch)
        assert torch.equal(seen[0][1].boxes, expected.boxes) and torch.equal(seen[0][0][0], features[0])
        assert set(found) == set(losses)
    assert isinstance(model, FasterRCNN)
