import random
from pathlib import Path

import numpy as np
import pytest
import torch

from training import seeding
from training.seeding import capture_rng, draw_apart, item_seed, restore_rng, seed_everything


@pytest.fixture(autouse=True)
def keep_generators():
    state = capture_rng()
    yield
    restore_rng(state)


def draw() -> tuple:
    return random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.rand(3).tolist()


def test_seed_everything():
    seed_everything(3)
    first = draw()
    assert draw() != first
    seed_everything(3)
    assert draw() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_seeds_beyond_numpys_32_bits():
    seed_everything(2**32 + 5)
    assert draw()[-1] != [0, 0, 0]


def test_processes_draw_apart_and_the_first_as_one_alone():
    drawn = []
    for process in (0, 1, 2, 1):
        seed_everything(3)
        draw()
        draw_apart(3, process)
        drawn.append(draw())
    seed_everything(3)
    draw()
    assert drawn[0] == draw()
    assert all(len(set(map(str, part))) == 3 for part in zip(*drawn[:3], strict=True))
    assert drawn[3] == drawn[1]
    draw_apart(4, 1)
    assert draw() != drawn[1]


def test_item_seeds_stay_as_they_are():
    # Runs of earlier versions resume on these: a change is a break.
    assert item_seed(0, 0, 0) == 3882903725285577553
    assert item_seed(1, 2, 3) == 926643494850814613


def test_item_seeds_differ_in_every_argument():
    # 11 2 3 and 1 12 3 must not run together, nor must neighbours.
    cases = [(s, e, i) for s in (0, 1, 11) for e in (0, 2, 12) for i in range(100)]
    seeds = [item_seed(*case) for case in cases]
    assert len(set(seeds)) == len(cases)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch.tensor(seeds).dtype == torch.int64


def test_item_seeds_are_spread():
    # The mean of 1,000 uniform numbers is 1/2 with deviation 1 / sqrt(12,000) = 0.009.
    assert np.mean([item_seed(0, 0, index) / 2**63 for index in range(1000)]) == pytest.approx(0.5, abs=0.045)


def test_state_comes_back_through_a_checkpoint(tmp_path: Path):
    seed_everything(1)
    draw()
    random.gauss(0, 1), np.random.randn()  # both keep a second number for later
    torch.save(capture_rng(), tmp_path / "rng.pt")
    expected = [draw() for _ in range(3)]
    seed_everything(2)
    restore_rng(torch.load(tmp_path / "rng.pt", weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_a_captured_state_does_not_move_on():
    state = capture_rng()
    first = draw()
    restore_rng(state)
    assert draw() == first
    restore_rng(state)
    assert draw() == first


def test_generators_of_devices_in_use_are_kept(monkeypatch: pytest.MonkeyPatch):
    device = torch.Generator()
    for kind, in_use in (("cuda", False), ("xpu", True), ("mps", True)):
        module = torch.get_device_module(kind)
        monkeypatch.setitem(seeding._IN_USE, kind, lambda in_use=in_use: in_use)
        monkeypatch.setattr(module, "get_rng_state", device.get_state)
        monkeypatch.setattr(module, "set_rng_state", device.set_state)
    state = capture_rng()
    assert state["cuda"] is None
    drawn = torch.rand(3, generator=device)
    restore_rng(state)
    assert torch.equal(torch.rand(3, generator=device), drawn)
    del state["mps"], state["xpu"]  # as in checkpoints of earlier releases
    after = device.get_state()
    restore_rng(state)
    assert torch.equal(device.get_state(), after)
