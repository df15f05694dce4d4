import pytest
import torch
from torch import nn

from engine.config import OptimConfig
from engine.optim import build_optimizer, describe_lr, scaled_lr


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_linear_scaling():
    # 0.1 per 256: half of it for 128, twice for 512.
    assert [scaled_lr(OptimConfig(batch_size=size)) for size in (256, 128, 512)] == pytest.approx(
        [0.1, 0.05, 0.2]
    )


def test_the_log_names_the_rule():
    assert describe_lr(OptimConfig()) == "learning rate 0.1 for batches of 256, as stated"
    assert describe_lr(OptimConfig(batch_size=64)) == (
        "learning rate 0.025 for batches of 64: 0.1 per 256, scaled linearly (Goyal et al. 2017)"
    )


def test_everything_is_decayed_as_in_the_paper():
    model = network()
    (group,) = build_optimizer(model, OptimConfig(lr=0.2, batch_size=128, momentum=0.8)).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (pytest.approx(0.1), 0.8, 1e-4)
    assert group["params"] == list(model.parameters())
    assert not group["nesterov"]


def test_norm_and_biases_can_be_left_alone():
    model = network()
    decayed, others = build_optimizer(model, OptimConfig(decay_norm_and_bias=False)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (1e-4, 0)
    assert decayed["params"] == [model[0].weight, model[3].weight]
    assert others["params"] == [model[0].bias, model[1].weight, model[1].bias, model[3].bias]
    assert decayed["lr"] == others["lr"]


def test_one_step_by_hand():
    # w = 2, gradient 3, decay 0.1: 3 + 0.1 x 2 = 3.2, times rate 0.5: 2 - 1.6 = 0.4. The bias is not
    # decayed: 2 - 0.5 x 3 = 0.5.
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, 2)
    nn.init.constant_(model.bias, 2)
    config = OptimConfig(lr=0.5, batch_size=1, reference_batch=1, weight_decay=0.1, decay_norm_and_bias=False)
    optimizer = build_optimizer(model, config)
    model.weight.grad, model.bias.grad = torch.full((1, 1), 3.0), torch.full((1,), 3.0)
    optimizer.step()
    assert (model.weight.item(), model.bias.item()) == pytest.approx((0.4, 0.5))


@pytest.mark.parametrize("decay", [True, False])
def test_frozen_parameters_stay_out(decay: bool):
    model = network()
    model[0].requires_grad_(False)
    groups = build_optimizer(model, OptimConfig(decay_norm_and_bias=decay)).param_groups
    parameters = [parameter for group in groups for parameter in group["params"]]
    assert len(parameters) == 4
    assert all(parameter.requires_grad for parameter in parameters)


def test_network_without_biases():
    decayed, others = build_optimizer(
        nn.Conv2d(3, 4, 3, bias=False), OptimConfig(decay_norm_and_bias=False)
    ).param_groups
    assert (len(decayed["params"]), len(others["params"])) == (1, 0)
