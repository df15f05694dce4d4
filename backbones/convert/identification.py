"""Which of our networks a set of tensors belongs to, as far as names and shapes tell."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from backbones.build import create_model
from backbones.families import FAMILIES, find_family
from backbones.spec import Network
from foundation.errors import OptionError, WeightsError


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
        WeightsError: no network has such tensors, or several have.
        OptionError: an unknown name, or an option that does not apply to it.
    """
    if model is not None:
        return _build(model, state, options)
    found: dict[int, list[Network]] = {}  # by the number of tensors that are those of the network
    for name in _names_of_depth(state):
        if not re.fullmatch(models, name):
            continue
        try:
            network = _build(name, state, options)
        except OptionError:  # a depth that the family does not have
            continue
        own = {key: tensor.shape for key, tensor in network.state_dict().items()}
        equal = {key for key, shape in own.items() if key in state and state[key].shape == shape}
        if all(key in equal for key, shape in own.items() if len(shape) == 4):
            found.setdefault(len(equal), []).append(network)
    if not found:
        raise WeightsError(
            f"no network of tools/models.py has tensors like these ({_num_convolutions(state)} convolutions "
            "beside shortcuts); give --model NAME to see what differs"
        )
    best = found[max(found)]
    if len(best) > 1:
        names = ", ".join(network.name for network in best)
        raise WeightsError(f"the tensors are those of {names} alike; give --model NAME")
    return best[0]


def _build(name: str, state: Mapping[str, Tensor], options: Mapping[str, Any]) -> Network:
    family, _ = find_family(name)
    given = dict(options)
    if "shortcut" in family.options:
        projects = any(".downsample." in key for key in state)
        everywhere = "layer1.1.downsample.0.weight" in state
        given.setdefault("shortcut", "C" if everywhere else "B" if projects else "A")
    with torch.device("meta"):
        network = create_model(name, **given)
        last = f"{network.last_layer}.weight"
        classes = len(state[last]) if last in state else family.num_classes
        return network if classes == family.num_classes else create_model(name, num_classes=classes, **given)


def _names_of_depth(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Networks with as many layers: the depth in a name counts convolutions and one or (VGG) three others."""
    depths = [_num_convolutions(state) + others for others in (1, 3)]
    for family in FAMILIES.values():
        names = {name for name, arguments in family.models.items() if arguments["depth"] in depths}
        if family.any_depth:
            names |= {family.any_depth.format(depth) for depth in depths}
        yield from sorted(names)


def _num_convolutions(state: Mapping[str, Tensor]) -> int:
    return sum(tensor.ndim == 4 and ".downsample." not in name for name, tensor in state.items())
