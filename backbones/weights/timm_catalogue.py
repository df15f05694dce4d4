"""Weights that timm publishes for networks that stay timm's: where they lie, and what timm says of them."""

from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import torch

from backbones.families import is_model
from backbones.norm import norm_eps
from backbones.spec import InputSpec
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError, suggest


@dataclass(frozen=True)
class TimmWeights:
    """The address of a safetensors file with timm's names, and the header that it gets here."""

    url: str
    header: WeightsHeader


def list_timm_weights(pattern: str) -> list[str]:
    """Names "timm/<network>.<tag>" that fit a shell pattern, of networks that stay timm's, if it is there."""
    try:
        import timm
    except ModuleNotFoundError:
        return []
    names = [name for name in timm.list_models(pretrained=True) if fnmatchcase(f"timm/{name}", pattern)]
    ours = {network: is_model(network) for network in {name.partition(".")[0] for name in names}}
    return [
        f"timm/{name}"
        for name in names
        if not ours[name.partition(".")[0]] and _is_on_hub(timm.get_pretrained_cfg(name))
    ]


def _is_on_hub(config: Any) -> bool:
    """Whether timm's entry is kept as model.safetensors on the Hugging Face hub."""
    return bool(config.hf_hub_id) and not config.hf_hub_filename and config.custom_load != "hf"


def find_timm_weights(name: str) -> TimmWeights:
    """What timm knows of its weights "timm/<network>.<tag>".

    Raises:
        WeightsError: timm is not installed, has no such weights, or keeps them in another form.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise WeightsError(f"{name} needs timm ({error}); pip install 'residual-backbones[timm]'") from error
    theirs = name.removeprefix("timm/")
    network, _, tag = theirs.partition(".")
    known = timm.list_models(pretrained=True)
    if theirs not in known:
        tags = [f"timm/{other}" for other in known if other.split(".")[0] == network]
        near = [f"timm/{other}" for other in get_close_matches(theirs, known, n=1)]
        end = suggest(name, tags or near) if tags or near else "; timm.list_pretrained() lists what there is"
        raise WeightsError(f"unknown weights {name!r}{end}")
    config: Any = timm.get_pretrained_cfg(theirs)
    if not _is_on_hub(config):
        raise WeightsError(
            f"{name} is not kept as model.safetensors on the Hugging Face hub; let timm load it, and give "
            "the file that torch.save writes of the network's state_dict()"
        )
    with torch.device("meta"):  # its structure alone is looked at
        eps = norm_eps(timm.create_model(network))
    spec = InputSpec(mean=tuple(config.mean), std=tuple(config.std))
    options = {"num_classes": config.num_classes} if config.num_classes else {}
    header = WeightsHeader(f"timm/{network}", options, spec, norm_eps=eps, dataset=tag)
    return TimmWeights(f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors", header)
