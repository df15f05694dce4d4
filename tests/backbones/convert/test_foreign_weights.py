import pytest
import torch

from backbones import WeightsError
from backbones.convert.foreign_weights import compare, rename, without_counters


def test_names_that_are_taken_or_unknown_are_unused():
    tensors = {name: torch.zeros(1) for name in ("a", "b", "c")}
    contents = rename(tensors, {"a": "x", "b": "x", "c": None}.get)
    assert contents.originals == {"x": "a"} and contents.state.keys() == {"x"}
    assert contents.unused.keys() == {"b", "c"}


def test_coverage_by_hand():
    # Used 6 values; missing 2, unused 1, misshapen 4 of the file and 3 of the network: 6 of 16 are 37.5 %.
    network = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(2),
        "c": torch.zeros(3),
        "num_batches_tracked": torch.zeros(1),
    }
    coverage = compare({"a": torch.ones(2, 3), "c": torch.zeros(4)}, {"z": torch.zeros(1)}, network)
    assert coverage.percent == 37.5
    assert coverage.describe().splitlines() == [
        "  used: 1 tensors, 6 values (37.5 %)",
        "  1 missing:",
        "    b (2,)",
        "  1 unused:",
        "    z (1,)",
        "  1 of another shape:",
        "    c: file (4,), network (3,)",
    ]
    coverage.require("x", allow_missing=["b", "c"], allow_unexpected=["z", "c"])
    with pytest.raises(WeightsError, match="x: not every tensor has its place"):
        coverage.require("x", allow_missing=["b"], allow_unexpected=["z", "c"])
    with pytest.raises(WeightsError, match="'a' is allowed, but it is not missing or unused"):
        coverage.require("x", allow_missing=["a", "b", "c"], allow_unexpected=["z", "c"])


def test_counters_are_left_out():
    assert without_counters(
        {"bn1.weight": torch.zeros(1), "bn1.num_batches_tracked": torch.zeros(1)}
    ).keys() == {"bn1.weight"}
