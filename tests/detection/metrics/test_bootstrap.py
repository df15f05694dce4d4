"""The interval of a mean average precision, against evaluating copies of the pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from detection.metrics.bootstrap import (
    bootstrap,
    bootstrap_mean,
    class_resamples,
    interval_of,
    mean_resamples,
    resampled,
)
from detection.metrics.conventions import (
    COCO,
    VOC07,
    VOC12,
    ClassMatches,
    Conventions,
    class_matches,
    match_pictures,
    mean_ap,
)
from detection.types import Prediction, Target
from foundation.errors import UserError


def random_pictures(count: int, seed: int = 0) -> tuple[list[Prediction], list[Target]]:
    """Three classes, the third rare; some objects to be ignored; no two scores alike."""
    rng = np.random.default_rng(seed)
    found, truth = [], []
    for number in range(count):
        corner = rng.uniform(0, 80, (4, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (4, 2))], axis=1)
        labels = rng.choice([1, 2, 3], 4, p=[0.5, 0.45, 0.05])
        chosen = rng.integers(0, 4, 6)
        near = boxes[chosen] + rng.normal(0, 3, (6, 4))
        ignore = torch.tensor(rng.random(4) < 0.2)
        truth.append(Target(torch.tensor(boxes).float(), torch.tensor(labels), ignore, number, (200, 200)))
        scores = torch.tensor(rng.random(6))
        found.append(Prediction(torch.tensor(near).float(), torch.tensor(labels[chosen]), scores, number))
    return found, truth


def matches(count: int, how: Conventions = VOC12) -> list[ClassMatches]:
    found, truth = random_pictures(count)
    return class_matches(match_pictures(found, truth, 3, how))


@pytest.mark.parametrize("how", [VOC12, VOC07, COCO, replace(COCO, rule="voc", ignored="counted")])
def test_resamples_score_as_copies_of_the_pictures(how: Conventions):
    found, truth = random_pictures(12)
    values = resampled(class_resamples(matches(12, how), 12, how, 5, seed=3))
    drawn = np.random.default_rng(3).multinomial(12, np.full(12, 1 / 12), size=5)
    for value, times in zip(values, drawn, strict=True):
        picked = np.repeat(np.arange(12), times)
        expected = mean_ap([found[i] for i in picked], [truth[i] for i in picked], 3, how)
        assert value == pytest.approx(expected, abs=1e-12)


def test_more_pictures_make_the_interval_narrower_and_it_holds_the_figure():
    widths = []
    for count in (20, 200):
        interval = bootstrap(matches(count), count, VOC12, resamples=200)
        assert interval.figure == mean_ap(*random_pictures(count), 3, VOC12)
        assert interval.low < interval.figure < interval.high
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2


def test_it_is_repeatable_and_the_seed_matters(monkeypatch: pytest.MonkeyPatch):
    first = bootstrap(matches(15), 15, VOC12, resamples=50)
    assert first == bootstrap(matches(15), 15, VOC12, resamples=50)
    assert first.low != bootstrap(matches(15), 15, VOC12, resamples=50, seed=1).low
    monkeypatch.setattr("detection.metrics.bootstrap._ELEMENTS", 1)  # row by row
    by_rows = bootstrap(matches(15), 15, VOC12, resamples=50)
    assert (by_rows.low, by_rows.high) == pytest.approx((first.low, first.high))


def test_one_picture_has_no_spread():
    interval = bootstrap(matches(1, COCO), 1, COCO, resamples=7)
    assert interval.low == interval.high == pytest.approx(interval.figure)


def test_nothing_to_find_or_to_draw():
    for pictures in (0, 1):
        interval = bootstrap([], pictures, VOC12, resamples=2)
        assert interval.figure is interval.low is interval.high is None
    with pytest.raises(UserError, match="--bootstrap must be 1 or more resamples, got 0"):
        bootstrap([], 1, VOC12, resamples=0)


def test_two_detectors_are_resampled_on_the_same_pictures():
    found, truth = random_pictures(30)
    worse = [replace(one, scores=torch.rand(len(one.scores))) for one in found]
    first, second = (class_matches(match_pictures(each, truth, 3, VOC12)) for each in (found, worse))
    values = [resampled(class_resamples(each, 30, VOC12, 200, seed=0)) for each in (first, second)]
    paired = np.std(values[0] - values[1])
    assert paired < np.hypot(np.std(values[0]), np.std(values[1]))  # apart, their errors would add up
    same = class_resamples(first, 30, VOC12, 200, seed=0)
    assert np.array_equal(resampled(same), values[0])
    assert interval_of(values[0] - values[0], 0.95) == (0, 0)
    assert interval_of(np.full(3, np.nan), 0.95) == (None, None)


def test_means_of_values_are_drawn_as_the_figures_are():
    values = np.array([0.0, 1.0, 5.0])
    drawn = np.random.default_rng(3).multinomial(
        3, np.full(3, 1 / 3), size=150
    )  # more than are drawn at once
    assert mean_resamples(values, 150, seed=3) == pytest.approx(drawn @ values / 3)
    interval = bootstrap_mean(values, resamples=150, seed=3)
    assert interval.figure == 2 and interval.low == np.quantile(drawn @ values / 3, (1 - interval.level) / 2)
    assert bootstrap_mean(np.zeros(0), resamples=3).figure is None
    with pytest.raises(UserError, match="1 or more resamples, got 0"):
        mean_resamples(values, 0, seed=0)
