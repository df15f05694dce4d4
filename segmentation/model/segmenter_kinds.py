"""The kinds of networks for semantic segmentation, by what each reads of a backbone; `KINDS` lists them.

A new kind is a head, and an entry of `KINDS`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from backbones.build import find_feature_specs
from backbones.families import FAMILIES, Options
from backbones.spec import FeatureSpec
from foundation.errors import OptionError
from segmentation.model.context_heads import DeepLabPlusHead, PyramidPoolingHead, deeplabv3_head
from segmentation.model.fcn import SkipHead, fcn_head

SKIP_STRIDE = 32  # of the coarsest map that Long et al. 2015 score
OUTPUT_STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class SegmenterKind:
    """How networks of one kind are made.

    Attributes:
        build: makes the head of the channels of the maps it reads, from fine to coarse, of the number of
            classes, and of the last map's stride.
        finer: strides of the maps it reads beside the backbone's last.
        output_stride: of the backbone's last map unless another is asked for; None joins maps of the
            strides that the backbone has by itself.
    """

    build: Callable[[Sequence[int], int, int], nn.Module]
    finer: tuple[int, ...] = ()
    output_stride: int | None = None


def _skips(channels: Sequence[int], num_classes: int, output_stride: int) -> nn.Module:
    return SkipHead(channels, num_classes)


KINDS = {
    "fcn": SegmenterKind(lambda channels, classes, stride: fcn_head(channels[0], classes), output_stride=8),
    "fcn32s": SegmenterKind(_skips),
    "fcn16s": SegmenterKind(_skips, finer=(16,)),
    "fcn8s": SegmenterKind(_skips, finer=(8, 16)),
    "deeplabv3": SegmenterKind(
        lambda channels, classes, stride: deeplabv3_head(channels[0], classes, stride), output_stride=8
    ),
    "deeplabv3plus": SegmenterKind(DeepLabPlusHead, finer=(4,), output_stride=16),
    "pspnet": SegmenterKind(
        lambda channels, classes, stride: PyramidPoolingHead(channels[0], classes), output_stride=8
    ),
}


class Maps(NamedTuple):
    """What a network reads of its backbone.

    Attributes:
        specs: of all features of the backbone.
        reads: those for the head, from fine to coarse.
        aux_reads: the one for the auxiliary head: the last but one of all, res4 of a ResNet; None of a
            backbone with one map.
        output_stride: of the last map.
        dilation: stages to dilate for it.
        coarsest: stride of the coarsest map in the head, which pools the last one of VGG.
    """

    specs: Mapping[str, FeatureSpec]
    reads: tuple[str, ...]
    aux_reads: str | None
    output_stride: int
    dilation: tuple[str, ...]
    coarsest: int

    @property
    def channels(self) -> list[int]:
        """Of the maps for the head."""
        return [self.specs[name].channels for name in self.reads]


def choose_maps(kind_name: str, backbone: str, output_stride: int | None, options: Options) -> Maps:
    """The maps that a kind of network reads of a backbone, and how the backbone is dilated for them.

    Raises:
        OptionError: the backbone has no such maps, or cannot be dilated to give them.
    """
    kind = KINDS[kind_name]
    specs = find_feature_specs(backbone, **options)
    last, stride = list(specs)[-1], list(specs.values())[-1].stride
    pooled = 2 if has_fc6(backbone) and kind.output_stride is None else 1
    dilation: tuple[str, ...] = ()
    if kind.output_stride is None:
        _check_undilated(kind_name, backbone, output_stride, (last, stride * pooled))
    else:
        wanted = kind.output_stride if output_stride is None else output_stride
        if wanted != stride:
            dilation = _dilation(backbone, wanted, specs, options)
            specs, stride = find_feature_specs(backbone, **options | {"dilation": dilation}), wanted
    finer = []
    for wanted in kind.finer:
        found = [name for name, spec in specs.items() if spec.stride * pooled == wanted and name != last]
        if not found:
            raise OptionError(
                f"{kind_name} reads a map of stride {wanted} before the last, {backbone} has "
                f"{_listed(specs)}; take another backbone, or a kind that reads one map, such as "
                f"fcn_{backbone}"
            )
        finer.append(found[0])
    aux_reads = list(specs)[-2] if len(specs) > 1 else None
    return Maps(specs, (*finer, last), aux_reads, stride, dilation, stride * pooled)


def has_fc6(backbone: str) -> bool:
    """Whether it is a VGG network, whose fc6 and fc7 the skip heads read."""
    return backbone in FAMILIES["vgg"].models


def _check_undilated(kind: str, backbone: str, asked: int | None, last: tuple[str, int]) -> None:
    name, stride = last
    if asked is not None:
        raise OptionError(
            f"{kind} joins maps of the strides that {backbone} has by itself; leave out "
            f"output_stride={asked!r}, or take fcn_{backbone}"
        )
    if stride != SKIP_STRIDE:
        raise OptionError(
            f"{kind} scores a map of stride {SKIP_STRIDE}, the last of {backbone}, {name}, has stride "
            f"{stride}; take fcn_{backbone} with output_stride={stride}"
        )


def _dilation(
    backbone: str, output_stride: int, specs: Mapping[str, FeatureSpec], options: Options
) -> tuple[str, ...]:
    """The stages whose stride must become dilation for the last map to have another stride."""
    last, stride = list(specs)[-1], list(specs.values())[-1].stride
    if type(output_stride) is not int or output_stride not in OUTPUT_STRIDES:
        raise OptionError(
            f"output_stride must be {', '.join(map(str, OUTPUT_STRIDES))}, got {output_stride!r}"
        )
    remedy = f"give output_stride={stride}, or another backbone"
    if output_stride > stride:
        raise OptionError(
            f"output_stride={output_stride} is more than the last map of {backbone}, {last}, has; {remedy}"
        )
    stages = tuple(name for name, spec in specs.items() if spec.stride > output_stride)
    try:
        find_feature_specs(backbone, **options | {"dilation": stages})
    except OptionError as error:
        raise OptionError(
            f"{backbone} has no stages that can be dilated to output_stride={output_stride}: its last map, "
            f"{last}, has stride {stride}; {remedy}, such as resnet50"
        ) from error
    return stages


def _listed(specs: Mapping[str, FeatureSpec]) -> str:
    return ", ".join(f"{name} of stride {spec.stride}" for name, spec in specs.items())
