"""Values with which no network can compute are found, and others are not."""

import math

import pytest
import torch

from backbones import WeightsError, load_into
from backbones.weights.weight_values import check_values, with_plain_counters


def refusal(tensor: torch.Tensor, name: str = "layer1.0.bn1.running_var", **keywords) -> str:
    with pytest.raises(WeightsError) as caught:
        check_values({"conv1.weight": torch.ones(2), name: tensor}, "x.pth", **keywords)
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2])
def test_one_value_among_many(value, dtype):
    tensor = torch.ones(3, 5).to(dtype)
    tensor.view(-1)[7] = value
    assert refusal(tensor, "fc.weight") == (
        "x.pth: in fc.weight, 1 of 15 values are NaN or infinite; the training diverged or the file is "
        "damaged: take earlier weights, or another copy"
    )


def test_infinities_that_cancel():
    assert "2 of 3 values" in refusal(torch.tensor([math.inf, -math.inf, 1.0]))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.full((4,), 3e38),  # whose sum is infinite
        torch.full((4,), 6e4, dtype=torch.float16),
        torch.zeros(3),
        torch.empty(0),
        torch.tensor(-1),  # a counter
        torch.tensor([True]),
        torch.ones(2).to(torch.float8_e5m2),
    ],
)
def test_sound_values(tensor):
    check_values({"layer1.0.bn1.running_var": tensor}, "x.pth")


def test_negative_variance():
    message = refusal(torch.tensor([0.5, -0.5, -1e-9]))
    assert "in layer1.0.bn1.running_var, 2 of 3 variances are negative" in message
    check_values({"running_mean": torch.tensor([-1.0]), "bn1.weight": torch.tensor([-1.0])}, "x.pth")


def test_the_name_in_the_file_is_said():
    names = {"bn1.running_var": "stem.norm.running_var"}
    assert "in stem.norm.running_var, " in refusal(torch.tensor([-1.0]), "bn1.running_var", names=names)


def test_states_from_elsewhere_are_refused_before_anything_changes():
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.clone()
    state = {"weight": torch.ones(1, 2), "bias": torch.tensor([math.nan])}
    with pytest.raises(WeightsError, match="the weights: in bias, 1 of 1 values are NaN"):
        load_into(layer, state)
    assert torch.equal(layer.weight, before)
    load_into(layer, state | {"bias": torch.zeros(1)})
    load_into(torch.nn.Linear(2, 1, bias=False), state, allow_unexpected=["bias"])  # is not used


def test_counters_become_plain_and_nothing_else_does():
    state = {"bn1.num_batches_tracked": torch.tensor([9], dtype=torch.int32), "a": torch.ones(1)}
    state |= {"bn2.num_batches_tracked": torch.zeros(2), "bn3.num_batches_tracked": torch.tensor(4.0)}
    plain = with_plain_counters(state)
    assert plain["bn1.num_batches_tracked"].shape == () and plain["bn1.num_batches_tracked"] == 9
    assert plain["bn3.num_batches_tracked"].dtype == torch.int64 and plain["bn3.num_batches_tracked"] == 4
    assert plain["a"] is state["a"] and plain["bn2.num_batches_tracked"].shape == (2,)  # no counter at all
