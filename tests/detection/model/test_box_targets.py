import pytest
import torch
from torchvision.models.detection._utils import Matcher

from detection.model.box_targets import Matches, _mix, box_targets, match, random_keys, sample, sampled_mean


def all_true(*shape: int) -> torch.Tensor:
    return torch.ones(*shape, dtype=torch.bool)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize("seed", range(10))
def test_equal_to_torchvision(seed: int, low_quality: bool):
    # Few distinct values, so that objects and boxes tie.
    iou = torch.randint(1, 11, (1, 6, 40), generator=torch.Generator().manual_seed(seed)) / 10
    expected = Matcher(0.7, 0.3, allow_low_quality_matches=low_quality)(iou[0])
    matches = match(
        iou, all_true(1, 6), all_true(1, 40), positive_iou=0.7, negative_iou=0.3, low_quality=low_quality
    )
    assert matches.positive[0].tolist() == (expected >= 0).tolist()
    assert matches.negative[0].tolist() == (expected == -1).tolist()
    assert matches.best[matches.positive].tolist() == expected[expected >= 0].tolist()


def test_padding_and_ineligible_boxes_do_not_count():
    iou = torch.tensor([[[0.9, 0.2, 0.8], [1.0, 1.0, 1.0]]])
    objects, candidates = torch.tensor([[True, False]]), torch.tensor([[False, True, True]])
    matches = match(iou, objects, candidates, positive_iou=0.7, negative_iou=0.3, low_quality=True)
    assert matches.positive.tolist() == [[False, False, True]]
    assert matches.negative.tolist() == [[False, True, False]]
    assert matches.best[0, 2] == 0


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_without_objects_everything_is_negative(floor: float):
    matches = match(
        torch.full((1, 2, 3), torch.nan), ~all_true(1, 2), all_true(1, 3),
        positive_iou=0.5, negative_iou=0.5, negative_floor=floor, low_quality=True,
    )  # fmt: skip
    assert matches.negative.all()
    assert not matches.positive.any()


def test_an_object_that_touches_nothing_makes_no_positives():
    iou = torch.tensor([[[0.0, 0.0, 0.0], [0.4, 0.1, 0.0]]])
    matches = match(iou, all_true(1, 2), all_true(1, 3), positive_iou=0.7, negative_iou=0.3, low_quality=True)
    assert matches.positive.tolist() == [[True, False, False]]


def test_negative_floor():
    iou = torch.tensor([[[0.05, 0.1, 0.49, 0.5]]])
    matches = match(
        iou, all_true(1, 1), all_true(1, 4), positive_iou=0.5, negative_iou=0.5, negative_floor=0.1
    )
    assert matches.negative.tolist() == [[False, True, True, False]]
    assert matches.positive.tolist() == [[False, False, False, True]]


def test_splitmix64_reference_value():
    # First output of Vigna's splitmix64.c for state 1234567.
    state = torch.tensor(1234567 + 0x9E3779B97F4A7C15 - 2**64)
    assert _mix(state) == 6457827717110365317


def test_keys_depend_on_seed_number_and_stream_alone():
    seeds = torch.tensor([3, 4, 2**62])
    numbers = torch.arange(1000)
    keys = random_keys(seeds, numbers, stream=0)
    assert torch.equal(keys[1:2], random_keys(seeds[1:2], numbers, stream=0))
    assert torch.equal(keys[:, 5:10], random_keys(seeds, numbers[5:10], stream=0))
    both = torch.cat([keys, random_keys(seeds, numbers, stream=1)])
    assert len(both.unique()) == both.numel()


def choose(positives: int, negatives: int, seeds: list[int], count: int, fraction: float) -> torch.Tensor:
    kind = torch.arange(positives + negatives + 5).expand(len(seeds), -1)  # the last five are neither
    positive, negative = kind < positives, (kind >= positives) & (kind < positives + negatives)
    keys = random_keys(torch.tensor(seeds), torch.arange(kind.shape[1]), stream=0)
    chosen = sample(Matches(kind, positive, negative), keys, count, fraction)
    assert torch.equal(positive.gather(1, chosen.rows) & chosen.valid, chosen.positive)
    negatives_chosen = negative.gather(1, chosen.rows) & chosen.valid
    assert torch.equal(chosen.positive | negatives_chosen, chosen.valid)
    for rows, valid, first in zip(chosen.rows, chosen.valid, chosen.positive, strict=True):
        assert len(rows[valid].unique()) == valid.sum()
        assert first[: first.sum()].all()
    return torch.stack([chosen.positive.sum(dim=1), negatives_chosen.sum(dim=1)])


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [(50, 50, (4, 12)), (2, 50, (2, 14)), (50, 3, (4, 3)), (0, 50, (0, 16)), (1, 1, (1, 1)), (0, 0, (0, 0))],
)
def test_sampled_numbers(positives: int, negatives: int, expected: tuple[int, int]):
    numbers = choose(positives, negatives, [1, 2, 3], 16, 0.25)
    assert numbers.T.tolist() == [list(expected)] * 3


def test_every_box_is_chosen_as_often():
    positive = torch.tensor([[True] * 8 + [False] * 8]).expand(4000, -1)
    keys = random_keys(torch.arange(4000), torch.arange(16), stream=0)
    chosen = sample(Matches(positive.long(), positive, ~positive), keys, 4, 0.5)
    assert chosen.valid.all()
    # 2 of 8 each: 1000 ± 27 (one standard deviation, binomial).
    assert (chosen.rows.flatten().bincount() - 1000).abs().max() < 120


def test_box_targets_are_finite_beside_padding():
    objects = torch.tensor([[[0.0, 0, 20, 20], [0.0, 0, 0, 0]]])
    boxes = torch.tensor([[[0.0, 0, 10, 20], [0.0, 0, 10, 20], [0.0, 0, 0, 0]]])
    owners, positive = torch.tensor([[0, 1, 1]]), torch.tensor([[True, False, False]])
    targets = box_targets(objects, owners, boxes, positive)
    # Centre 5 pixels to the right of an anchor 10 wide, twice as wide: 5 / 10 and ln 2.
    torch.testing.assert_close(targets[0, 0], torch.tensor([0.5, 0.0, 0.6931472, 0.0]))
    assert targets[0, 1:].eq(0).all()


def test_sampled_mean_by_hand():
    # First picture 1 + 2 over three samples, second picture nothing sampled: (3 / 3 + 0) / 2.
    losses = torch.tensor([[1.0, 2.0, 4.0], [8.0, torch.inf, 8.0]])
    counted = torch.tensor([[True, True, False], [False] * 3])
    sampled = torch.tensor([[True] * 3, [False] * 3])
    assert sampled_mean(losses, counted, sampled) == 0.5
