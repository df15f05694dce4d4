"""Paired differences and their intervals, worked by hand on two pictures with an object each."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from detection.own_sets.split_opener import SplitOpener
from detection.results.metrics_by_name import METRICS, Metric
from foundation.errors import UserError
from reproduction.detectors.detector_groups import figures_of, read_group
from reproduction.results.experiments import Difference
from reproduction.results.paired_groups import difference

# Two pictures drawn from two, with replacement: the first twice, each once, the second twice; 1 : 2 : 1.
# Who finds the object of the first alone has AP 100, 50 and 0 there; one that finds both has always 100.
ScoredOf = Callable[..., object]


def test_one_seed_by_hand(scored: ScoredOf):
    first, both = (read_group([scored(f"found{ids}", ids)], SplitOpener()) for ids in ([1], [1, 2]))
    assert first.scores == {"mAP": [50.0]} and both.scores == {"mAP": [100.0]}
    values = first.resamples["mAP"]
    assert set(np.round(values, 9)) == {0, 50, 100}
    # 1000 drawings with probabilities 1/4, 1/2, 1/4: the deviation of the first count is 14.
    assert 200 < (values == 0).sum() < 300 and 440 < (np.isclose(values, 50)).sum() < 560
    assert difference(first, both, "mAP") == Difference(50.0, 0.0, 100.0)
    assert difference(both, first, "mAP") == Difference(-50.0, -100.0, 0.0)


def test_the_figures_of_a_resample_are_averaged_over_the_seeds(scored: ScoredOf):
    """One seed finds the first object, the other the second: 100 + 0, 50 + 50, 0 + 100, the mean always 50.

    So the interval is a point, although that of each seed alone is as wide as can be.
    """
    seeds = read_group([scored("seed0", [1]), scored("seed1", [2])], SplitOpener())
    both = read_group([scored("both0", [1, 2]), scored("both1", [1, 2])], SplitOpener())
    assert seeds.scores == {"mAP": [50.0, 50.0]}
    assert np.allclose(seeds.resamples["mAP"], 50)
    found = difference(seeds, both, "mAP")
    assert (found.value, found.low, found.high) == pytest.approx((50, 50, 50))


def test_both_figures_of_coco(scored: ScoredOf):
    half, both = (read_group([scored(name, ids, "coco")], SplitOpener(), 50) for name, ids in
                  (("half", [2]), ("both", [1, 2])))  # fmt: skip
    assert list(half.scores) == ["AP50", "AP"]
    # Of 101 recalls those up to 0.5 are reached: 51, at every threshold.
    assert half.scores == {name: [pytest.approx(5100 / 101)] for name in ("AP50", "AP")}
    assert difference(half, both, "AP50").value == pytest.approx(5000 / 101)
    assert np.allclose(half.resamples["AP50"], half.resamples["AP"])


def test_a_loose_box_counts_at_the_first_threshold_alone(scored: ScoredOf):
    detector = scored("loose", [1, 2], "coco")
    text = (detector.folder / "predictions.json").read_text()
    # 40 x 40 against 40 x 24: IoU 0.6, found at 0.5, 0.55 and 0.6.
    (detector.folder / "predictions.json").write_text(text.replace("40, 40]", "40, 24]"))
    group = read_group([detector], SplitOpener(), 20)
    assert group.scores == {"AP50": [pytest.approx(100)], "AP": [pytest.approx(30)]}
    assert np.allclose(group.resamples["AP50"], 100) and np.allclose(group.resamples["AP"], 30)


def of_square(height: int) -> dict[str, Any]:
    """A mask of `height` rows and 40 columns, as a run-length."""
    mask = np.zeros((80, 100), dtype=np.uint8, order="F")
    mask[10 : 10 + height, 10:50] = 1
    found = run_lengths.encode(mask)
    return {"size": found["size"], "counts": found["counts"].decode("ascii")}


def test_masks_have_figures_of_their_own(scored: ScoredOf, two_pictures: Path):
    """All boxes are right. Of the second mask 29 of 40 rows are found: IoU 0.725, a hit at five of ten."""
    file = two_pictures / "annotations" / "instances_val.json"
    content = json.loads(file.read_text())
    for entry in content["annotations"]:
        entry["segmentation"] = of_square(40)
    file.write_text(json.dumps(content))
    detector = scored("masks", [1, 2], "coco")
    records = json.loads((detector.folder / "predictions.json").read_text())
    for record, height in zip(records, (40, 29), strict=True):
        record["segmentation"] = of_square(height)
    (detector.folder / "predictions.json").write_text(json.dumps(records))
    group = read_group([detector], SplitOpener(), 20, masks=True)
    assert list(group.scores) == ["AP50", "AP", "segm/AP50", "segm/AP"]
    assert [group.scores[name] for name in ("AP50", "AP", "segm/AP50")] == [[pytest.approx(100)]] * 3
    # Above 0.7 one of two is found: of 101 recalls 51 are reached.
    assert group.scores["segm/AP"] == [pytest.approx(50 + 50 * 51 / 101)]
    values = set(group.resamples["segm/AP"].round(6))
    assert values == {100, 50, round(50 + 50 * 51 / 101, 6)}  # the first twice, the second twice, each once


def test_nothing_to_find_is_refused(scored: ScoredOf, two_pictures: Path):
    detector = scored("none", [])
    file = two_pictures / "annotations" / "instances_val.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    with pytest.raises(UserError, match="val has no object that counts"):
        read_group([detector], SplitOpener(), 5)


def test_predictions_of_another_evaluation_are_refused(scored: ScoredOf):
    with pytest.raises(UserError, match=r"gives mAP 50.00, not 70.00 as result.json beside it: .*again"):
        read_group([scored("wrong", [1], mAP=0.7)], SplitOpener(), 5)
    assert read_group([scored("right", [1], mAP=0.5)], SplitOpener(), 5).scores == {"mAP": [50.0]}


def test_what_cannot_be_compared_is_refused(scored: ScoredOf, monkeypatch: pytest.MonkeyPatch):
    one, two = (read_group([scored(how, [1], how)], SplitOpener(), 5) for how in ("voc12", "voc07"))
    with pytest.raises(UserError, match="different metrics, or on different pictures"):
        difference(one, two, "mAP")
    monkeypatch.setitem(METRICS, "boxes", Metric(lambda predictions, dataset: ({}, {}), "count"))
    with pytest.raises(UserError, match="metric=boxes knows no interval .* choose one of coco, voc07, voc12"):
        figures_of("boxes")
