"""An exported file may differ by what the network itself rounds by, and by no more."""

import copy

import pytest
import torch
from torch import Tensor, nn

from backbones.exported_difference import TOLERANCE, compare_exported
from foundation.errors import ExportError

PICTURES = [torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(2)]


class Cancelling(nn.Module):
    """Sums beside a large number, which costs `digits` decimal digits, of some values at a time."""

    outputs = ["sums"]

    def __init__(self, digits: int, at_a_time: int = 12) -> None:
        super().__init__()
        self.large, self.at_a_time = nn.Parameter(torch.tensor(10.0**digits)), at_a_time

    def forward(self, images: Tensor) -> Tensor:
        total = self.large.expand(len(images))
        for part in images.to(torch.float32).flatten(1).split(self.at_a_time, dim=1):
            total = total + part.sum(1)
        return total - self.large


def run(module: nn.Module, factor: float = 1.0):
    return lambda images: [module(images) * factor]


def test_a_network_that_loses_digits_is_compared_with_fewer():
    module, other = Cancelling(5), Cancelling(5, at_a_time=4)
    # Near 1e5 float32 numbers lie 2^-7 apart: some tens of rounded sums lose about 0.03 of 96.
    difference = compare_exported(module, run(other), PICTURES, path="x", kind="network")
    assert TOLERANCE < difference < 1e-3
    assert compare_exported(module, run(module), PICTURES, path="x", kind="network") == 0


@pytest.mark.parametrize("digits", [0, 5, 7])  # with seven, nothing of the sums is left but whole numbers
def test_other_weights_are_refused_however_many_digits_are_lost(digits):
    module = Cancelling(digits)
    with pytest.raises(ExportError, match=r"x: sums of \(2, 3, 8, 8\) .*e-02 of .*made of this network\?"):
        compare_exported(module, run(module, 1.02), PICTURES, path="x", kind="network")


def test_what_a_steady_network_may_differ_by():
    def compare(function) -> float:
        return compare_exported(module, function, PICTURES, path="x", kind="network")

    module = Cancelling(0)
    assert compare(run(module, 1 + 5e-5)) == pytest.approx(5e-5, rel=0.1)
    with pytest.raises(ExportError, match=r"differ by 2.0e-04 of the largest value, at most 1.0e-04 is"):
        compare(run(module, 1 + 2e-4))
    with pytest.raises(ExportError, match=r"sums of \(2, 3, 8, 8\) pictures should be \(2,\), is \(1,\)"):
        compare(lambda images: [module(images)[:1]])
    with pytest.raises(ExportError, match="differ by inf"):
        compare(run(module, torch.nan))


class Detections(nn.Module):
    """Twenty-four rows a picture, of which the first `count` of the first and none of the second count."""

    outputs = ["boxes", "scores", "valid"]

    def __init__(self, count: int) -> None:
        super().__init__()
        self.boxes = torch.arange(96.0).view(24, 4).expand(2, 24, 4)
        self.scores = torch.linspace(0.9, 0.1, 24).expand(2, 24)
        self.count = count

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        valid = torch.zeros(2, 24, dtype=torch.bool)
        valid[0, : self.count] = True
        return {"boxes": self.boxes, "scores": self.scores, "valid": valid}


def compare(count: int, *, order: list[int], moved: int = 0, found: int | None = None) -> float:
    """Against the same rows in another order, of which the first `moved` lie elsewhere."""
    module = Detections(count)
    values = copy.deepcopy(Detections(count if found is None else found)(PICTURES[0]))
    boxes = values["boxes"][:, order].clone()
    boxes[0, :moved] += 50
    outputs = [boxes, values["scores"][:, order], values["valid"]]
    return compare_exported(
        module, lambda images: outputs, PICTURES[:1], path="x", kind="detector", counted="valid"
    )


def test_detections_are_compared_whatever_their_order():
    order = list(range(24))
    assert compare(20, order=order) == compare(20, order=[1, 0, *order[2:]]) == compare(0, order=order) == 0
    assert compare(20, order=order, moved=1) == 0  # one of twenty is a twentieth
    with pytest.raises(ExportError, match=r"x: boxes of .* differ by .* was it made of this detector\?"):
        compare(20, order=order, moved=2)
    with pytest.raises(ExportError, match="boxes of .* differ by"):
        compare(3, order=order, moved=1)


def test_detections_where_the_other_has_none():
    order = list(range(24))
    for count, found in ((3, 0), (0, 3), (20, 17), (17, 20)):
        with pytest.raises(ExportError, match="x: boxes of .* differ by"):
            compare(count, order=order, found=found)
