import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from foundation.errors import UserError
from training.loop import TrainState
from training.optim import OptimConfig, build_optimizer, describe_lr, scaled_lr
from training.run_folder import load_checkpoint, save_checkpoint


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


def one_step(config: OptimConfig, gradients: list[float]) -> float:
    """A weight that starts at 2 after a step with each of these gradients."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2)
    optimizer = build_optimizer(model, config)
    for gradient in gradients:
        model.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    return model.weight.item()


def plain(**options) -> OptimConfig:
    return OptimConfig(**{"lr": 0.5, "batch_size": 1, "reference_batch": 1, "weight_decay": 0} | options)


def test_nesterov_by_hand():
    # v = 3, step 3 + 0.5 x 3 = 4.5: 2 - 2.25. Without it the first step is 3: 2 - 1.5.
    assert one_step(plain(momentum=0.5, nesterov=True), [3.0]) == pytest.approx(-0.25)
    assert one_step(plain(momentum=0.5), [3.0]) == pytest.approx(0.5)


def test_adamw_by_hand():
    # Decay first, 2 x (1 - 0.5 x 0.1) = 1.9; Adam's first step is the sign of the gradient: 1.9 - 0.5. The
    # second, after -3: m = 0.8 x 0.2 x 3 - 0.2 x 3 = -0.12, over 1 - 0.64 is -1/3; v's root is 3.
    config = plain(kind="adamw", momentum=0.8, weight_decay=0.1)
    assert one_step(config, [3.0]) == pytest.approx(1.4, abs=1e-6)
    assert one_step(config, [3.0, -3.0]) == pytest.approx(1.4 * 0.95 + 0.5 / 9, abs=1e-6)


def test_lamb_by_hand():
    # Adam's first direction is 1, plus the decay 0.25 x 2 = 1.5; LAMB gives it the weight's own length, 2:
    # 2 - 0.25 x 2. Clipping is not LAMB's own: optim.clip_norm does it for all kinds.
    pytest.importorskip("timm")
    config = plain(kind="lamb", lr=0.25, weight_decay=0.25)
    assert one_step(config, [3.0]) == pytest.approx(1.5, abs=1e-6)
    assert build_optimizer(network(), config).defaults["max_grad_norm"] is None


def test_lamb_without_timm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "timm.optim", None)
    with pytest.raises(UserError, match=r'kind=lamb .* pip install "residual-backbones\[timm\]"'):
        build_optimizer(network(), OptimConfig(kind="lamb"))


@pytest.mark.parametrize("kind", ["lamb", "adamw"])
def test_square_root_scaling(kind: str):
    config = OptimConfig(kind=kind, lr=0.01, batch_size=64)
    assert scaled_lr(config) == pytest.approx(0.005)  # 64 is a quarter of 256
    assert describe_lr(config) == (
        f"{kind}, learning rate 0.005 for batches of 64: 0.01 per 256, scaled by the square root "
        "(You et al. 2020)"
    )


@pytest.mark.parametrize("kind", ["lamb", "adamw"])
def test_the_others_leave_norm_and_biases_alone_too(kind: str):
    pytest.importorskip("timm")
    config = OptimConfig(kind=kind, weight_decay=0.1, decay_norm_and_bias=False)
    decayed, others = build_optimizer(network(), config).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0)
    assert (len(decayed["params"]), len(others["params"])) == (2, 4)


@pytest.mark.parametrize("kind", ["sgd", "lamb", "adamw"])
def test_a_checkpoint_goes_on_to_the_same_bits(kind: str, tmp_path: Path):
    pytest.importorskip("timm")
    config = OptimConfig(kind=kind, lr=0.01, batch_size=4, reference_batch=4, decay_norm_and_bias=False)

    def train(state: TrainState, steps: range) -> None:
        for step in steps:
            inputs = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(step))
            state.optimizer.zero_grad()
            state.model(inputs).square().sum().backward()
            state.optimizer.step()

    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = network()
        states.append(TrainState(model, build_optimizer(model, config)))
    whole, continued = states
    train(whole, range(3))
    save_checkpoint(tmp_path / "file", whole.state_dict())
    train(whole, range(3, 6))
    continued.load_state_dict(load_checkpoint(tmp_path / "file"))
    train(continued, range(3, 6))
    for value, other in zip(whole.model.parameters(), continued.model.parameters(), strict=True):
        assert torch.equal(value, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nesterov": True, "momentum": 0}, "belongs to kind sgd with momentum, got sgd and momentum 0"),
        ({"nesterov": True, "kind": "lamb"}, "nesterov belongs to kind sgd with momentum, got lamb"),
        ({"kind": "adamw", "momentum": 1}, "momentum is beta1 of adamw and must be below 1, got 1"),
        ({"ema_decay": 0}, "ema_decay must be between 0 and 1, for instance 0.9999, got 0"),
        ({"ema_decay": 1}, "ema_decay must be between 0 and 1, for instance 0.9999, got 1"),
        ({"ema_decay": 99.9}, "ema_decay must be between 0 and 1, for instance 0.9999, got 99.9"),
    ],
)  # fmt: skip
def test_impossible_optimisers_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        OptimConfig(**options)
