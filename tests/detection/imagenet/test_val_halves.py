"""Halves of val: balanced, the same each time, and never written over."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detection.data.dataset_splits import DataConfig, open_dataset
from detection.imagenet.val_halves import halve, write_halves
from foundation.errors import UserError


def test_by_hand():
    # The rarest class, 2, is placed first: a to half 0, b to half 1. Of class 1 both have one then, and c
    # goes to half 0, where d is missing; d to half 1. e shows nothing and goes to half 0.
    shown = {"a": {1, 2}, "b": {1, 2}, "c": {1}, "d": {1}, "e": set[int]()}
    assert halve(shown) == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}


def test_every_class_is_balanced():
    rng = np.random.default_rng(0)
    shares = np.linspace(0.01, 0.3, 20)
    shown = {f"{index:04d}": set(np.flatnonzero(rng.random(20) < shares).tolist()) for index in range(2000)}
    half_of = halve(shown)
    counts = [Counter(k for name in shown if half_of[name] == half for k in shown[name]) for half in (0, 1)]
    for label in range(20):
        one, other = counts[0][label], counts[1][label]
        assert abs(one - other) / (one + other) < 0.1
    assert abs(2 * sum(half_of.values()) - 2000) < 100


def test_the_halves_are_splits(det: Path, add: Callable, write: Callable):
    write(det, "ImageSets/DET/val.txt", "v1 1\nv2 2\nv3 3\nv4 4\n")
    add(det, "DET/val", "v4", [("n02", (0, 0, 2, 2))])
    lines = write_halves(det)
    # Both classes have two pictures, v3 and v4 show the first: v3 to half 0, v4 to half 1; v1 shows the
    # second, of which half 0 has v3: half 1; v2 shows nothing: half 0.
    lists = [(det / f"ImageSets/DET/our_val{half}.txt").read_text() for half in (1, 2)]
    assert lists == ["v2\nv3\n", "v1\nv4\n"]
    assert lines[0].endswith("our_val1.txt: 2 pictures") and "1 and 1 pictures of cat" in lines[2]
    dataset = open_dataset(DataConfig(kind="imagenet_det", root=str(det)), "train+our_val1")
    assert dataset.image_ids[3:] == ["v2", "v3"]
    with pytest.raises(UserError, match=r"our_val1.txt exists, and is not overwritten"):
        write_halves(det)
