"""The moving average of the weights: values by hand, what is averaged, and what the model holds when."""

from pathlib import Path

import pytest
import torch
from torch import nn

from training.optim import WeightAverage
from training.run_folder import load_checkpoint, save_checkpoint


def set_weight(model: nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def weight_of(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    set_weight(model, value)
    return model


def test_three_steps_by_hand():
    # Decays min(1/4, (1+n)/(10+n)): 2/11, then 1/4 = 3/12, then 1/4 < 4/13.
    # From 0: 9/11 of 11 = 9; 9/4 + 3/4 of 13 = 12; 12/4 + 3/4 of 4 = 6.
    model = weight_of(0)
    average = WeightAverage(model, 0.25)
    for value, expected in ((11, 9), (13, 12), (4, 6)):
        set_weight(model, value)
        average.update()
        assert average.averages["weight"].item() == pytest.approx(expected)
        assert model.weight.item() == value


def test_the_decay_is_exact_near_one():
    # 1 - 0.999966 in float32 would be off by a part in a thousand.
    model = weight_of(0)
    average = WeightAverage(model, 0.999966)
    average.steps += 10_000_000
    set_weight(model, 1)
    average.update()
    assert average.averages["weight"].item() == pytest.approx(3.4e-5, rel=1e-6)


def test_the_weights_in_float32_are_those_of_float64_to_their_last_digit():
    model = weight_of(0)
    set_weight(model, 1)
    average = WeightAverage(model, 0.9999)
    for steps in [*range(1, 200), *range(200, 120_000, 997)]:
        average.steps.fill_(steps - 1)
        average.averages["weight"].zero_()
        average.update()
        exact = 1 - min(0.9999, (1 + steps) / (10 + steps))
        assert average.averages["weight"].item() == pytest.approx(exact, rel=2**-23)


def test_running_statistics_are_averaged_and_counters_copied():
    norm = nn.BatchNorm2d(1)
    average = WeightAverage(norm, 0.5)
    norm.running_mean.fill_(11)
    norm.num_batches_tracked.fill_(7)
    average.update()
    assert average.averages["running_mean"].item() == pytest.approx(9)
    assert average.averages["num_batches_tracked"].item() == 7


def test_the_model_holds_the_average_within_the_block_only():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    average.update()
    own = {name: value.clone() for name, value in model.state_dict().items()}
    averaged = {name: value.clone() for name, value in average.averages.items()}
    addresses = [parameter.data_ptr() for parameter in model.parameters()]
    with pytest.raises(KeyboardInterrupt), average.in_place():
        assert all(torch.equal(value, averaged[name]) for name, value in model.state_dict().items())
        raise KeyboardInterrupt
    assert not torch.equal(own["0.weight"], averaged["0.weight"])
    assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, averaged[name]) for name, value in average.averages.items())
    assert addresses == [parameter.data_ptr() for parameter in model.parameters()]


def test_frozen_weights_stay_to_the_bit():
    model = weight_of(0.1)
    average = WeightAverage(model, 0.9)
    for _ in range(5):
        average.update()
    assert torch.equal(average.averages["weight"], model.weight)


def test_a_checkpoint_goes_on_to_the_same_bits(tmp_path: Path):
    model = weight_of(1)
    average = WeightAverage(model, 0.9)
    set_weight(model, 2)
    average.update()
    save_checkpoint(tmp_path / "file", {"step": 1, "average": average.state_dict()})
    other = WeightAverage(weight_of(5), 0.9)
    other.load_state_dict(load_checkpoint(tmp_path / "file")["average"])
    set_weight(model, 0.3)
    set_weight(other.model, 0.3)
    for either in (average, other):
        either.update()
    assert torch.equal(average.averages["weight"], other.averages["weight"])
    assert average.steps.item() == other.steps.item() == 2
