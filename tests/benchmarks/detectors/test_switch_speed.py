"""Every switch is on in what is timed, and memory is counted. No timing decides here."""

import pytest
import torch

from benchmarks.detectors import switch_speed as module
from benchmarks.detectors.switch_speed import SWITCHES, peak, switch_calls, switch_memory

SIZE = (96, 128)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    options = (*module.NETWORKS["R18-C4"], "rpn.channels=16", "rpn.pre_nms_test=200", "rpn.post_nms_test=20")
    monkeypatch.setattr(module, "NETWORKS", {"tiny": (*options, "roi.size=4")})


def test_every_switch_finds_something_else():
    calls = list(switch_calls("cpu", SIZE))
    assert [name for name, _, _ in calls] == [f"tiny, {name} (peer: without)" for name in SWITCHES]
    for name, switched, plain in calls:
        ours, others = switched(), plain()
        assert ours.valid.sum() > 5 and others.valid.sum() > 5, name
        assert not torch.equal(ours.boxes, others.boxes), name


def test_memory_of_every_switch():
    lines = switch_memory("cpu", SIZE).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| tiny, {name}" for name in SWITCHES]


def test_the_peak_counts_what_lives_at_once():
    weights = torch.ones(1000)  # given, not made

    def chain() -> None:
        values = weights.view(10, 100) + 1
        for _ in range(5):
            values = values * 2  # the one before lives until the next is there

    assert peak(chain) == 2 * 4000
    assert peak(lambda: [weights + 1, weights.view(-1), weights + 2, weights + 3]) == 3 * 4000
