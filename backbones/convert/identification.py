"""Which of our networks a set of tensors belongs to, as far as names and shapes tell."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from backbones.build import FAMILIES, create_model
from backbones.networks.preact import PREACT_BLOCKS
from backbones.networks.resnet import VARIANTS
from backbones.spec import Network
from foundation.errors import WeightsError

_CLASSIFIERS = ("fc.weight", "classifier.6.weight")


def build_for(
    state: Mapping[str, Tensor], model: str | None, options: Mapping[str, Any], *, models: str = ".*"
) -> Network:
    """The network that the tensors fit best, on the device "meta", without values.

    Args:
        state: name → tensor, in our names.
        model: its name; None finds it by the tensors.
        options: what names and shapes cannot tell, such as stride_on.
        models: pattern of the names to choose from.
    Raises:
        WeightsError: no network has such blocks, or several have.
        OptionError: an unknown name, or an option that does not apply to it.
    """
    if model is not None:
        return _build(model, state, options)
    networks = [_build(name, state, options) for name in _candidates(state) if re.fullmatch(models, name)]
    fitting = [network for network in networks if _fits(network, state)]
    if len(fitting) > 1:
        names = ", ".join(network.name for network in fitting)
        raise WeightsError(f"the tensors are those of {names} alike; give --model NAME")
    if not fitting:
        blocks = ", ".join(map(str, _blocks(state))) or "none"
        raise WeightsError(
            f"no network of tools/models.py has tensors like these (blocks in layer1 …: {blocks}); "
            "give --model NAME to see what differs"
        )
    return fitting[0]


def _build(name: str, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> Network:
    classes = next((len(state[last]) for last in _CLASSIFIERS if last in state), None)
    family = FAMILIES.get("resnet" if name in VARIANTS else re.sub(r"\d+", "", name))
    given = dict(options)
    if family is not None and "shortcut" in family.options:
        given.setdefault("shortcut", _shortcut(state))
    with torch.device("meta"):
        return create_model(name, num_classes=classes, **given)


def _candidates(state: Mapping[str, Tensor]) -> list[str]:
    if "features.0.weight" in state:
        return ["vgg16", "vgg19"]
    blocks = _blocks(state)
    preact = "preact_" if "bn_last.weight" in state else ""
    residual = any(".downsample." in name for name in state)
    kinds = [f"{preact}resnet"] if residual or preact else ["resnet", "plain"]
    if len(blocks) == 3 and len(set(blocks)) == 1:
        depths = [6 * blocks[0] + 2] + ([9 * blocks[0] + 2] if preact else [])
        return [f"{kind}{depth}_cifar" for kind in kinds for depth in depths]
    depths = [depth for depth, numbers in PREACT_BLOCKS.items() if numbers == blocks]
    variants = [name for name, variant in VARIANTS.items() if variant[0] in depths and not preact]
    limit = {"plain": 34, "resnet": 152, "preact_resnet": 200}
    return [f"{kind}{depth}" for kind in kinds for depth in depths if depth <= limit[kind]] + variants


def _blocks(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    found = {match.groups() for name in state if (match := re.match(r"layer(\d)\.(\d+)\.conv1\.", name))}
    stages = sorted({stage for stage, _ in found})
    return tuple(sum(stage == other for other, _ in found) for stage in stages)


def _shortcut(state: Mapping[str, Tensor]) -> str:
    if "layer1.1.downsample.0.weight" in state:
        return "C"
    return "B" if any(".downsample." in name for name in state) else "A"


def _fits(network: Network, state: Mapping[str, Tensor]) -> bool:
    """Whether all convolutions of the residual stages are there, in their shapes."""
    own = {name: tensor.shape for name, tensor in network.state_dict().items() if tensor.ndim == 4}
    return all(name in state and state[name].shape == shape for name, shape in own.items())
