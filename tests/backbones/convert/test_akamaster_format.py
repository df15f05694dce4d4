import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from backbones import (
    create_model,
)
from backbones.convert import akamaster_format as cifar
from backbones.convert import convert


def akamaster(state: dict[str, Tensor], images: Tensor) -> Tensor:
    """The forward pass of that project's networks, with its option A: zero channels on both sides."""

    def norm(x, prefix):
        return F.batch_norm(
            *(x, state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"]),
            *(state[f"{prefix}.weight"], state[f"{prefix}.bias"]),
        )

    x = F.relu(norm(F.conv2d(images, state["conv1.weight"], padding=1), "bn1"))
    for stage in (1, 2, 3):
        for block in range(3):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, state[f"{at}.conv1.weight"], stride=stride, padding=1), f"{at}.bn1"))
            y = norm(F.conv2d(y, state[f"{at}.conv2.weight"], padding=1), f"{at}.bn2")
            if stride == 2 and f"{at}.shortcut.0.weight" in state:
                x = norm(F.conv2d(x, state[f"{at}.shortcut.0.weight"], stride=2), f"{at}.shortcut.1")
            elif stride == 2:
                quarter = y.shape[1] // 4
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, quarter, quarter))
            x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), state["linear.weight"], state["linear.bias"])


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_cifar_networks_with_zeros_on_both_sides(tmp_path, shortcut, ours, logits, relative_difference):
    path, network = ours(tmp_path, "resnet20_cifar", shortcut=shortcut)
    convert(path, tmp_path / "theirs.th", target_format="cifar")
    content = torch.load(tmp_path / "theirs.th", weights_only=True)["state_dict"]
    state = {name.removeprefix("module."): tensor for name, tensor in content.items()}
    torch.manual_seed(1)
    with torch.no_grad():
        theirs = akamaster(state, torch.randn(2, 3, 32, 32))
        assert relative_difference(theirs, logits(network, 32)) < 1e-5
        # Their own values, as in a published file: ours must give what their network gives.
        for tensor in state.values():
            if tensor.is_floating_point():
                tensor.copy_(tensor + 0.01 * torch.rand_like(tensor))
        torch.save({"best_prec1": 91.0, "state_dict": state}, tmp_path / "published.th")
        convert(tmp_path / "published.th", tmp_path / "published.safetensors")
        again = create_model("resnet20_cifar", weights=tmp_path / "published.safetensors", shortcut=shortcut)
        torch.manual_seed(1)
        theirs = akamaster(state, torch.randn(2, 3, 32, 32))
        assert relative_difference(logits(again.eval(), 32), theirs) < 1e-5


def test_option_a_in_their_order_by_hand():
    # One channel becomes two, then four. Theirs: half of the zeros first, none for one channel (1 // 2 = 0).
    state = {"conv1.weight": torch.zeros(2, 3, 1, 1)}
    for stage, width in ((2, 4), (3, 8)):
        state[f"layer{stage}.0.bn2.weight"] = torch.arange(float(width))
    state["linear.weight"] = torch.arange(8.0)[None]
    found = cifar.to_ours(state).state
    assert found["layer2.0.bn2.weight"].tolist() == [1, 2, 0, 3]  # theirs: zero, old, old, zero
    assert found["layer3.0.bn2.weight"].tolist() == [3, 4, 2, 5, 0, 1, 6, 7]
    assert found["fc.weight"].tolist() == [[3, 4, 2, 5, 0, 1, 6, 7]]
