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
    # a and b show class 2, the rarest, and are placed first, one to each half. Both halves have a picture of
    # class 1 then, and are equally large: c goes to half 0, d to the other. e shows nothing.
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
        assert abs(one - other) <= 1 + 0.02 * (one + other)
    assert abs(2 * sum(half_of.values()) - 2000) < 100


def test_the_halves_are_splits(det: Path, add: Callable, write: Callable):
    write(det, "ImageSets/DET/val.txt", "v1 1\nv2 2\nv3 3\nv4 4\n")
    add(det, "DET/val", "v4", [("n02", (0, 0, 2, 2))])
    lines = write_halves(det)
    # Both classes have two pictures. v1 (class 2) goes to half 0, v3 (1 and 2) and then v4 (1) each to the
    # other half; v2 shows nothing and goes to the smaller one.
    lists = [(det / f"ImageSets/DET/our_val{half}.txt").read_text() for half in (1, 2)]
    assert lists == ["v1\nv4\n", "v2\nv3\n"]
    assert lines[0].endswith("our_val1.txt: 2 pictures") and "1 and 1 pictures of cat" in lines[2]
    dataset = open_dataset(DataConfig(kind="imagenet_det", root=str(det)), "train+our_val1")
    assert dataset.image_ids[3:] == ["v1", "v4"]
    with pytest.raises(UserError, match=r"our_val1.txt exists, and is not overwritten"):
        write_halves(det)
