"""Mixup and cutmix: values by hand, torchvision's for equal draws, and the seeds as the only randomness."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp

from classification.mixing import BITS, DRAWS, FIRST_BIT, Mixing, MixingConfig, beta_table, box_mask

CPU = torch.device("cpu")
LABELS = torch.tensor([2, 0, 1])


def seed_of(apply: float = 0, switch: float = 0, row: float = 0, column: float = 0, share: int = 0) -> Tensor:
    """A micro-batch's seeds, of which the first gives these draws; row to switch are fractions."""
    numbers = [int(value * DRAWS) for value in (apply, switch, row, column)] + [share]
    seed = sum(number << (FIRST_BIT + BITS * place) for place, number in enumerate(numbers))
    return torch.tensor([seed, 123, 456])


def mixing(**options: float) -> Mixing:
    return Mixing(MixingConfig(**options), 4, CPU)


def pictures(size: int = 4) -> Tensor:
    """Three pictures, of zeros, ones and twos."""
    return torch.arange(3.0)[:, None, None, None].expand(3, 2, size, size)


def test_mixup_by_hand():
    mix = mixing(mixup=0.5)
    mix.mixup_shares[7] = 0.75
    images, targets = mix(pictures(), LABELS, seed_of(share=7))
    # The partner is the picture before: 0.75 of 0, 1, 2 and 0.25 of 2, 0, 1.
    assert images[:, 0, 0, 0].tolist() == [0.5, 0.75, 1.75]
    assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
    assert targets.tolist() == [[0, 0.25, 0.75, 0], [0.75, 0, 0.25, 0], [0.25, 0.75, 0, 0]]


def test_cutmix_by_hand():
    mix = mixing(cutmix=1)
    mix.cutmix_shares[7] = 0.75
    images, targets = mix(pictures(), LABELS, seed_of(row=0.5, column=0.25, share=7))
    # A quarter of 4 x 4 is 2 x 2, around row 2 and column 1: rows 1 and 2, columns 0 and 1.
    box = torch.zeros(4, 4, dtype=torch.bool)
    box[1:3, 0:2] = True
    for own, partner in ((0, 2), (1, 0), (2, 1)):
        assert torch.equal(images[own, 0], torch.where(box, float(partner), float(own)))
    assert targets[0].tolist() == [0, 0.25, 0.75, 0]


def test_a_box_cut_off_by_the_border_counts_as_it_is():
    mix = mixing(cutmix=1)
    mix.cutmix_shares[7] = 0.75
    images, targets = mix(pictures(), LABELS, seed_of(row=0, column=0.25, share=7))
    # Around row 0 only row 0 is left: 2 of 16 pixels.
    assert (images[1, 0] == 0).sum() == 2
    assert targets[1].tolist() == [0.875, 0, 0.125, 0]


@pytest.mark.parametrize("share", [0.0, 0.31, 0.5, 0.93, 1.0])
def test_torchvision_mixes_alike(share: float):
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(5, 3, 7, 10, generator=generator), torch.tensor([0, 3, 3, 1, 2])
    mix = mixing(mixup=1)
    mix.mixup_shares[0] = share
    seeds = torch.zeros(5, dtype=torch.int64)
    theirs = MixUp(num_classes=4)
    expected = [
        theirs.transform(x, {"labels": labels, "batch_size": 5, "lam": share}) for x in (images, labels)
    ]
    for value, other in zip(mix(images, labels, seeds), expected, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(20))
def test_torchvision_cuts_alike(seed: int, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(seed)
    height, width, share = int(rng.integers(1, 30)), int(rng.integers(1, 30)), float(np.float32(rng.random()))
    row, column = rng.integers(height), rng.integers(width)
    theirs = CutMix(num_classes=4)
    draws = iter([torch.tensor([column]), torch.tensor([row])])
    monkeypatch.setattr(theirs._dist, "sample", lambda shape: torch.tensor(share))
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(draws))
    parameters = theirs.make_params([torch.zeros(2, 3, height, width)])
    left, top, right, bottom = parameters["box"]
    expected = torch.zeros(height, width, dtype=torch.bool)
    expected[top:bottom, left:right] = True
    places = (torch.tensor((row + 0.5) / height), torch.tensor((column + 0.5) / width))
    mask = box_mask(torch.tensor([share]), *places, height, width)
    assert torch.equal(mask, expected)
    assert 1 - mask.float().mean().item() == pytest.approx(parameters["lam_adjusted"], abs=1e-6)


def kinds(mix: Mixing, batches: int = 2000) -> tuple[float, float]:
    """Shares of the micro-batches left alone, and of those cut, by what happens to their pictures."""
    alone = cut = 0
    for seeds in torch.randint(2**63 - 1, (batches, 3), generator=torch.Generator().manual_seed(0)):
        images, _ = mix(pictures(16), LABELS, seeds)
        second = set(images[1].flatten().tolist())
        alone += second == {1.0}
        cut += second == {0.0, 1.0}
    return alone / batches, cut / batches


def test_how_often_each_kind_is_used():
    # Some boxes are empty, being below one pixel: those micro-batches stay as they are.
    alone, cut = kinds(mixing(mixup=1, cutmix=1, probability=0.75, cutmix_share=0.4))
    assert alone == pytest.approx(0.25, abs=0.04)
    assert cut == pytest.approx(0.75 * 0.4, abs=0.04)


@pytest.mark.parametrize(("options", "expected"), [({"mixup": 1}, 0), ({"cutmix": 1}, 1)])
def test_one_kind_alone(options: dict[str, float], expected: float):
    assert kinds(mixing(**options), 200)[1] == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_shares_follow_their_distribution(alpha: float):
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2a + 1)).
    shares = beta_table(alpha)
    assert shares.min() >= 0 and shares.max() <= 1
    assert shares.mean().item() == pytest.approx(0.5, abs=0.02)
    assert shares.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_the_first_seed_decides_and_nothing_else():
    mix = mixing(mixup=0.2, cutmix=1)
    images = torch.randn(3, 2, 8, 8)
    draws = set()
    for seed in range(30):
        seeds = torch.randint(2**63 - 1, (3,), generator=torch.Generator().manual_seed(seed))
        before = torch.get_rng_state()
        mixed, targets = mix(images, LABELS, seeds)
        assert torch.equal(before, torch.get_rng_state())
        seeds[1:] = 0
        again, targets_again = mixing(mixup=0.2, cutmix=1)(images, LABELS, seeds)
        assert torch.equal(mixed, again) and torch.equal(targets, targets_again)
        draws.add(targets[0].max().item())
    assert len(draws) > 15  # of 30: cutmix knows few shares on so small a picture


def test_a_single_picture_stays_as_it_is():
    images = torch.randn(1, 2, 8, 8)
    mixed, targets = mixing(mixup=1, cutmix=1)(images, LABELS[:1], seed_of(share=5)[:1])
    torch.testing.assert_close(mixed, images)
    torch.testing.assert_close(targets, torch.tensor([[0.0, 0, 1, 0]]))


@pytest.mark.gpu
def test_a_gpu_is_not_waited_for():
    mix = Mixing(MixingConfig(mixup=0.2, cutmix=1), 4, torch.device("cuda"))
    images, labels, seeds = torch.randn(3, 2, 8, 8).cuda(), LABELS.cuda(), seed_of(share=5).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        mixed, targets = mix(images, labels, seeds)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = mixing(mixup=0.2, cutmix=1)(images.cpu(), LABELS, seed_of(share=5))
    torch.testing.assert_close(mixed.cpu(), expected[0])
    torch.testing.assert_close(targets.cpu(), expected[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixup": -0.1}, "mixup must be from 0 to 100, got -0.1"),
        ({"cutmix": math.inf}, "cutmix must be from 0 to 100, got inf"),
        ({"probability": 1.1}, "probability must be from 0 to 1, got 1.1"),
        ({"cutmix_share": -1}, "cutmix_share must be from 0 to 1, got -1"),
    ],
)
def test_impossible_mixtures_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MixingConfig(**options)
