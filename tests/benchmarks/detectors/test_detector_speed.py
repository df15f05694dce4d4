"""Both detectors compute the same, learn and detect. No timing decides here."""

from dataclasses import replace

import pytest
import torch

from benchmarks.detectors import detector_speed as module
from benchmarks.detectors import peers
from benchmarks.detectors.detector_speed import KINDS, Contest, contest, detection_calls, require_equal
from foundation.errors import UserError

SIZE = (96, 128)


def test_both_learn_and_detect(monkeypatch: pytest.MonkeyPatch):
    made: list[Contest] = []
    monkeypatch.setattr(peers, "NETWORK", "resnet18")
    few = {"pre_nms_train": 100, "post_nms_train": 100, "pre_nms_test": 100, "post_nms_test": 100}
    monkeypatch.setattr(peers, "FPN_RPN", replace(peers.FPN_RPN, **few))  # for a quick test
    regions = replace(peers.FPN_ROI, regions_per_image=32, detections_per_image=10)  # each gets a mask
    monkeypatch.setattr(peers, "FPN_ROI", regions)
    monkeypatch.setattr(module, "contest", lambda *args: made.append(contest(*args)) or made[-1])
    monkeypatch.setattr(module, "KINDS", {"mask": KINDS["mask"]})
    calls = {name: pair for name, *pair in detection_calls("cpu", SIZE)}  # bf16 too, where the CPU has it
    inferences, steps = (calls[f"Mask R-CNN FPN: {what}, fp32"] for what in ("inference", "training step"))
    (both,) = made
    assert (both.batch.boxes >= 0).all() and (both.batch.boxes[..., 2:] <= torch.tensor([128, 96])).all()
    for network, step, infer in zip((both.ours, both.peer), steps, inferences, strict=True):
        before = {name: parameter.clone() for name, parameter in network.named_parameters()}
        step()
        moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
        wanted = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert moved <= wanted and len(moved) > 0.9 * len(wanted)
        assert len(infer()) in (2, 5)  # pictures of the peer, fields of ours


@pytest.mark.slow
def test_equal_weights_find_the_same():
    assert_equal("c4")  # on ResNet-50 alone


def test_equal_weights_find_the_same_on_pyramids(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(peers, "NETWORK", "resnet18")
    assert_equal("fpn")


def assert_equal(kind: str) -> None:
    both = contest(kind, "cpu", SIZE)
    assert require_equal(both) > 0.9
    with torch.no_grad():
        both.peer.roi_heads.box_predictor.cls_score.weight.mul_(-1)
    with pytest.raises(UserError, match="only 0 % of the peer's are ours"):
        require_equal(both)
