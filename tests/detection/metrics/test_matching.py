"""Sorting and first places as their plain definitions; the rules of matching are tested with the metrics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection.metrics import matching
from detection.metrics.matching import Rows, best_first, first_of_each, overlap_most

scored = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, -0.0, 0.1, 0.5, 1e-300, 1.0])), max_size=30
)


@given(scored)
def test_best_first_is_a_stable_sort(rows: list):
    group = np.array([g for g, _ in rows], dtype=np.int64)
    scores = np.array([s for _, s in rows], dtype=np.float64)
    expected = np.lexsort((-scores, group))
    assert best_first(group, scores).tolist() == expected.tolist()
    assert best_first(group + 2**60, scores).tolist() == expected.tolist()  # too large for one number


@given(st.lists(st.integers(-1, 4), max_size=20))
def test_first_of_each_object(match: list[int]):
    expected = [m >= 0 and m not in match[:i] for i, m in enumerate(match)]
    assert first_of_each(np.array(match, dtype=np.int64)).tolist() == expected


def test_pieces_of_the_detections_match_alike(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)

    def rows(count: int) -> Rows:
        corner = rng.uniform(0, 50, (2, count))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (2, count))])
        areas, places = np.prod(boxes[2:] - boxes[:2], axis=0), np.zeros(count, dtype=np.int64)
        return Rows(boxes, areas, rng.integers(1, 3, count), np.sort(rng.integers(0, 4, count)), places, 4, 2)

    found, truth = rows(40), rows(15)
    match, overlap = overlap_most(found, truth)
    monkeypatch.setattr(matching, "_CHUNK", 3)
    again = overlap_most(found, truth)
    assert (match >= 0).sum() > 10
    assert again[0].tolist() == match.tolist() and again[1].tolist() == overlap.tolist()
