"""Grad-CAM and guided backpropagation (Selvaraju et al. 2017), by captum."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from backbones.explain.hookable import MARK, hookable
from backbones.explain.theoretical_fields import find_offsets
from backbones.features import FeatureNetwork
from backbones.spec import Network
from foundation.errors import UserError


class Heat(NamedTuple):
    """What speaks for one class in each of N pictures.

    Attributes:
        grad_cam: (N, H, W), at least 0.
        guided: (N, 3, H, W), gradients of guided backpropagation at the normalised pictures.
        guided_grad_cam: (N, 3, H, W), their product.
    """

    grad_cam: Tensor
    guided: Tensor
    guided_grad_cam: Tensor


def captum_attributions() -> Any:
    """captum's module of attributions, which is imported where it is needed.

    Raises:
        UserError: captum is not installed.
    """
    try:
        import captum.attr
    except ModuleNotFoundError as error:
        raise UserError(f'heat maps need captum ({error}); pip install -e ".[explain]"') from error
    return captum.attr


def explain_answers(network: Network, images: Tensor, targets: Tensor, feature: str) -> Heat:
    """Heat maps of a classifier's answers.

    Grad-CAM weights each channel of a map with the mean over the map of the logit's gradient, adds the
    channels up and leaves out what is negative. Guided backpropagation (Springenberg et al. 2015) is the
    gradient of the logit at the picture, of which every ReLU passes on positive values alone.

    Args:
        network: a classifier of ours, in evaluation mode.
        images: (N, 3, H, W) normalised pictures.
        targets: (N,) int64, the classes that are asked for.
        feature: whose map Grad-CAM reads, of `network.feature_specs`.
    Raises:
        OptionError: the network has no such feature.
        UserError: captum is not installed.
    """
    attributions = captum_attributions()
    model, images = hookable(network, feature), images.detach().requires_grad_()
    grad_cam = attributions.LayerGradCam(model, getattr(model, MARK))
    cam = grad_cam.attribute(images, targets, relu_attributions=True).detach()
    stride, offsets = network.feature_specs[feature].stride, find_offsets(FeatureNetwork(network, [feature]))
    heat = spread_heat(cam[:, 0], images.shape[2:], stride, offsets[feature])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Setting backward hooks on ReLU")  # said of every call
        guided = attributions.GuidedBackprop(model).attribute(images, targets).detach()
    return Heat(heat, guided, heat[:, None] * guided)


def explain_maps(score: Callable[..., Tensor], maps: list[Tensor], target: int) -> list[Tensor]:
    """Grad-CAM of one of several scores on each of the maps that they are computed from.

    Args:
        score: from maps (1, C, h, w), which all count, to scores (1, S).
        target: which of the scores.
    Returns:
        (h, w) for each map, at least 0.
    Raises:
        UserError: captum is not installed.
    """
    attributions, layer = captum_attributions(), _Maps()
    grad_cam = attributions.LayerGradCam(lambda *given: score(*layer(*given)), layer)
    heat = grad_cam.attribute(tuple(maps), target, relu_attributions=True)
    return [values[0, 0].detach() for values in (heat if isinstance(heat, tuple) else (heat,))]


class _Maps(nn.Module):
    """Passes maps on, so that a hook finds them."""

    def forward(self, *maps: Tensor) -> tuple[Tensor, ...]:
        return tuple(values * 1 for values in maps)


def spread_heat(heat: Tensor, size: Sequence[int], stride: int, offset: float) -> Tensor:
    """The heat of cells at the pixels they look at, bilinearly between them and constant beside the last.

    Args:
        heat: (N, h, w).
        size: height and width of the pictures.
        stride: pixels from one cell to the next.
        offset: pixels from a cell's number times the stride to the middle of what it sees, as
            `find_offsets` gives it: 0 in networks that pad evenly, as ours but VGG and Highway networks,
            which pool two by two. A usual resize, as if cells were large pixels, would move everything by
            half a stride there.
    Returns:
        (N, *size).
    """
    rows, columns = (
        _cell_weights(pixels, cells, stride, offset).to(heat)
        for pixels, cells in zip(size, heat.shape[1:], strict=True)
    )
    return rows @ heat @ columns.T


def _cell_weights(pixels: int, cells: int, stride: int, offset: float) -> Tensor:
    """(pixels, cells): how much of each cell a pixel has; rows add up to 1."""
    place = ((torch.arange(pixels) - offset) / stride).clamp(0, cells - 1)
    return (1 - (place[:, None] - torch.arange(cells)).abs()).clamp(min=0)
