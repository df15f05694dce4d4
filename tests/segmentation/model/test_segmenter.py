"""Networks for semantic segmentation against torchvision's on the same weights."""

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import segmentation as theirs

import segmentation
from backbones.norm import fold_batchnorm
from segmentation.model.segmenter import Segmenter
from segmentation.types import IGNORED

SIZE = (97, 131)


def loss_of(logits: dict[str, Tensor], labels: Tensor) -> Tensor:
    """As torchvision's reference training: the mean over pixels that count, half of it for the other head."""
    losses = {name: F.cross_entropy(x, labels, ignore_index=IGNORED) for name, x in logits.items()}
    return losses["out"] + 0.5 * losses["aux"] if "aux" in losses else losses["out"]


@pytest.mark.parametrize("aux", [False, True])
@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_resnet50"])
def test_outputs_losses_and_gradients_are_torchvisions(name: str, aux: bool, randomise_norms: Callable):
    other = getattr(theirs, name)(weights=None, weights_backbone=None, num_classes=5, aux_loss=aux)
    randomise_norms(other)
    ours = segmentation.create_model(name, num_classes=5, aux=aux)
    ours.load_state_dict(other.state_dict())
    images, labels = torch.randn(2, 3, *SIZE), torch.randint(0, 5, (2, *SIZE))
    labels[:, :20] = IGNORED
    losses = []
    for network in (ours, other):
        with torch.no_grad():
            logits = network.eval()(images)
        torch.manual_seed(1)  # dropout
        loss = loss_of(network.train()(images), labels)
        loss.backward()
        losses.append((logits, loss, network.backbone.conv1.weight.grad))
    (logits, loss, gradient), (expected, their_loss, their_gradient) = losses
    assert list(logits) == list(expected) == (["out", "aux"] if aux else ["out"])
    for head, scores in expected.items():
        assert scores.shape == (2, 5, *SIZE)
        torch.testing.assert_close(logits[head], scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(loss, their_loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, their_gradient, rtol=1e-3, atol=1e-4)


# Parameters as torchvision's documentation states them, with the auxiliary head.
PARAMETERS = {
    "fcn_resnet50": 35_322_218,
    "fcn_resnet101": 54_314_346,
    "deeplabv3_resnet50": 42_004_074,
    "deeplabv3_resnet101": 60_996_202,
}


@pytest.mark.parametrize("aux", [False, True])
@pytest.mark.parametrize("name", PARAMETERS)
def test_names_shapes_and_parameters_are_torchvisions(name: str, aux: bool):
    with torch.device("meta"):
        other = getattr(theirs, name)(weights=None, weights_backbone=None, aux_loss=aux)
        ours = segmentation.create_model(name, aux=aux)
    shapes = [{key: x.shape for key, x in network.state_dict().items()} for network in (ours, other)]
    assert shapes[0] == shapes[1]
    # The auxiliary head: 1024 · 256 · 9 weights, 512 of normalisation, 256 · 21 + 21.
    expected = PARAMETERS[name] - (0 if aux else 2_359_296 + 512 + 5_397)
    assert sum(parameter.numel() for parameter in ours.parameters()) == expected


def test_every_pixel_has_logits_whatever_the_size():
    network = segmentation.create_model("fcn_resnet18", num_classes=3).eval()
    for size in ((1, 1), (7, 33)):
        assert network(torch.randn(1, 3, *size))["out"].shape == (1, 3, *size)


def test_logits_are_float32_in_bf16():
    network = segmentation.create_model("deeplabv3_resnet18", num_classes=3, aux=True).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(1, 3, 33, 40))
    assert {scores.dtype for scores in logits.values()} == {torch.float32}


def test_without_its_auxiliary_head_a_network_answers_the_same():
    network = segmentation.create_model("fcn_resnet18", num_classes=3, aux=True).eval()
    images = torch.randn(1, 3, 33, 40)
    with torch.no_grad():
        before = network(images)
        network.aux_classifier = None
        after = network(images)
    assert list(after) == ["out"] and torch.equal(before["out"], after["out"])


KINDS = ["fcn", "fcn8s", "deeplabv3", "deeplabv3plus", "pspnet"]


@pytest.mark.parametrize("kind", KINDS)
def test_normalisation_can_be_folded(kind: str, randomise_norms: Callable):
    network = segmentation.create_model(f"{kind}_resnet18", num_classes=3).eval()
    randomise_norms(network)
    folded = fold_batchnorm(network)
    assert not any("BatchNorm" in type(module).__name__ for module in folded.modules())
    images = torch.randn(1, 3, 65, 70)
    with torch.no_grad():
        torch.testing.assert_close(folded(images)["out"], network(images)["out"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_can_be_exported_for_any_size(kind: str):
    network = segmentation.create_model(f"{kind}_resnet18", num_classes=3).eval()
    axes = dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    program = torch.export.export(network, (torch.randn(2, 3, 64, 96),), dynamic_shapes=(axes,)).module()
    images = torch.randn(1, 3, 75, 91)
    with torch.no_grad():
        torch.testing.assert_close(program(images)["out"], network(images)["out"])


class EveryFourth(nn.Module):
    """One map, every fourth pixel of the first colour."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"res2": images[:, :1, ::4, ::4]}


def test_cells_are_enlarged_by_their_stride():
    network: Any = Segmenter(
        cast(Any, EveryFourth()),
        nn.Identity(),
        None,
        name="x",
        options={},
        reads=["res2"],
        aux_reads=None,
        stride=4,
    )
    row = torch.zeros(1, 3, 1, 6)
    row[..., 4] = 1  # cells 0 and 1, of the pixels 0 and 4
    # Output pixel i reads the place (i + 0.5) / 4 − 0.5 of the cells, whatever the picture's width is.
    assert network.whole_cells(row)["out"].flatten().tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875]
    wider = network.whole_cells(F.pad(row, (0, 3)))["out"].flatten()
    assert wider[:6].tolist() == [0, 0, 0.125, 0.375, 0.625, 0.875]
    # torchvision's way stretches two cells over the picture: places (i + 0.5) / 3 − 0.5.
    assert network(row)["out"].flatten().tolist() == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "stride"), [("deeplabv3_resnet18", 8), ("fcn8s_vgg16", 32), ("fcn_vgg16", 16)]
)
def test_the_coarsest_map_is_known(name: str, stride: int):
    options: Any = {"output_stride": 16} if name == "fcn_vgg16" else {}
    network = segmentation.create_model(name, num_classes=2, **options)
    assert network.stride == stride
    with torch.no_grad():
        found = network.eval().whole_cells(torch.randn(1, 3, 70, 97))
    assert found["out"].shape == (1, 2, 70, 97)
