"""Whether weights can be written in a format: its own networks must compute the same with them."""

import re

from backbones.convert.foreign_weights import Coverage
from backbones.convert.formats import FORMATS, Format
from backbones.convert.input_rewriting import same_pictures
from backbones.networks.blocks import has_bottlenecks
from backbones.norm import DEFAULT_EPS
from backbones.spec import LATER_OPTIONS, InputSpec, Network
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError

EPS = DEFAULT_EPS  # of batch normalisation in every format but ours, whose header states it


def check_fits(
    name: str, header: WeightsHeader, network: Network, coverage: Coverage, *, any_pictures: bool
) -> None:
    """Refuses weights with which the format's own networks would compute something else.

    Args:
        name: of the format; ours takes everything.
        header, network, coverage: of the weights; the network's values are not used.
        any_pictures: the caller sees to it that the networks get these pictures.
    Raises:
        WeightsError: with the difference and the remedy.
    """
    if name == "ours":
        return
    form = FORMATS[name]
    if not re.fullmatch(form.models, header.model):
        raise WeightsError(
            f"{name} has no network like {header.model}; write it as ours, or in another format"
        )
    _check_options(name, form, header, bottlenecks=has_bottlenecks(network))
    if abs(header.norm_eps - EPS) > 1e-9:
        raise WeightsError(
            f"these weights are for a norm epsilon of {header.norm_eps:g}, {name}'s networks add {EPS:g}; "
            "write them as ours, whose header says it"
        )
    rest = [key for key in coverage.missing if not key.startswith(f"{network.last_layer}.")]
    if rest:
        raise WeightsError(f"{rest[0]} is missing; only ours can hold a part of a network, give --to ours")
    if not any_pictures:
        _check_pictures(name, form, header.input_spec)


def _check_options(name: str, form: Format, header: WeightsHeader, *, bottlenecks: bool) -> None:
    options = header.options
    shortcut = options.get("shortcut", "B")  # VGG has none
    if shortcut not in form.shortcuts:
        raise WeightsError(
            f"these weights are for shortcut={shortcut}, {name}'s networks have "
            f"{' or '.join(form.shortcuts)}; write them as ours"
        )
    stride_on = options.get("stride_on", "3x3")
    if bottlenecks and form.stride_on not in (None, stride_on):
        raise WeightsError(
            f"these weights are for stride_on={stride_on}, {name}'s networks stride on the {form.stride_on}, "
            "which computes something else; write them as ours, detectron2 takes both"
        )
    for option in ("unit", "bottlenecks"):
        if (given := (LATER_OPTIONS | options)[option]) != LATER_OPTIONS[option]:
            raise WeightsError(
                f"these weights are for {option}={given}, {name}'s networks have {option}="
                f"{LATER_OPTIONS[option]}; write them as ours"
            )
    stem_pool = (LATER_OPTIONS | options)["stem_pool"]
    if form.stem_pool not in (None, stem_pool):
        raise WeightsError(
            f"these weights are for stem_pool={stem_pool}, {name}'s networks have {form.stem_pool}, whose "
            f"windows lie a pixel apart; write them all the same with --stem-pool {form.stem_pool}"
        )


def _check_pictures(name: str, form: Format, spec: InputSpec) -> None:
    said = f"these weights are for pictures as {spec}"
    if form.input_spec is not None and not same_pictures(spec, form.input_spec):
        raise WeightsError(
            f"{said}, {name}'s networks are used to {form.input_spec}; rewrite the first convolution with "
            "--input imagenet where the means agree, or see to the pictures yourself and give --input keep"
        )
    if name == "caffe" and (spec.order, spec.range, spec.std) != ("BGR", 255.0, (1.0, 1.0, 1.0)):
        raise WeightsError(
            f"{said}, Caffe's networks take BGR in 0-255 less a mean; rewrite the first convolution with "
            "--input msra where the means agree, or see to the pictures yourself and give --input keep"
        )
    if name == "timm" and spec.order != "RGB":
        raise WeightsError(
            f"{said}, timm's networks take RGB; rewrite the first convolution with --input imagenet"
        )
