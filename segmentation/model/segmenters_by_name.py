"""Networks for semantic segmentation by name, with weights loaded and checked."""

from fnmatch import fnmatchcase
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple, Unpack, cast

from torch import nn

from backbones import WeightsError, WeightsHeader, create_backbone, create_trunk_and_head, read_weights
from backbones.build import Norm
from backbones.families import FAMILIES, Options, is_model
from backbones.features import FeatureNetwork
from backbones.norm import norm_eps, set_norm_eps
from foundation.errors import OptionError, check_choice, suggest
from segmentation.model.fcn import VggSkipHead, fcn_head
from segmentation.model.segmenter import Segmenter
from segmentation.model.segmenter_kinds import KINDS, Maps, choose_maps, has_fc6
from segmentation.model.segmenter_options import SegmenterOptions
from segmentation.model.segmenter_weights import adopt_weights, load_segmenter_weights

_PICTURES = 224  # pixels a side that the backbones listed are meant for
_TIMM = "timm/"


def list_models(pattern: str = "*") -> list[str]:
    """Names "<kind>_<backbone>" that match a shell pattern, of the backbones for ImageNet.

    The networks for CIFAR and timm's, "fcn_resnet20_cifar" and "deeplabv3_timm/convnext_tiny", can be made,
    too, and are not listed.
    """
    backbones = [
        name for family in FAMILIES.values() if family.image_size == _PICTURES for name in family.models
    ]
    names = (f"{kind}_{backbone}" for kind in KINDS for backbone in backbones)
    return [name for name in names if fnmatchcase(name, pattern)]


def create_model(
    name: str,
    *,
    num_classes: int = 21,
    aux: bool = False,
    output_stride: int | None = None,
    weights: str | Path | None = None,
    backbone_weights: str | Path | None = None,
    norm: Norm = SegmenterOptions.norm,
    frozen_stages: int = 0,
    **options: Unpack[Options],
) -> Segmenter:
    """A network that gives every pixel a class; see `Segmenter`.

    Args:
        name: "<kind>_<backbone>": a kind of `KINDS` on any network of `backbones.create_backbone`.
        num_classes: K, with the background if there is one; VOC has 21.
        aux: an auxiliary head (torchvision's FCN head) on the last map but one, res4.
        output_stride: of the backbone's last map, by dilation: 8, 16 or 32; by default as in `KINDS`. The
            backbone must be able to be dilated, or have that stride by itself.
        weights: file (.safetensors of ours, .pth of torchvision's), loaded strictly; random if None.
        backbone_weights: file or published name of a classifier, as in `create_backbone`.
        norm: of the backbone, as in `create_backbone`. The heads have batch normalisation that trains, with
            "sync" over all processes.
        frozen_stages: of the backbone, as in `create_backbone`.
        **options: see `backbones.families.Options`; dilation follows from output_stride.
    Raises:
        OptionError: unknown name or option, or one that does not apply to this network.
        WeightsError: a file cannot be read, or is of another network.
    """
    kind, backbone = _parts(name)
    _check(num_classes, aux, options)
    if weights is not None and backbone_weights is not None:
        raise OptionError(f"{weights} brings the backbone's weights; leave out backbone_weights")
    maps = choose_maps(kind, backbone, output_stride, options)
    aux_reads, aux_head = None, None
    if aux:
        if maps.aux_reads is None:
            raise OptionError(f"{backbone} has one map, and none for an auxiliary head; leave out aux")
        aux_reads, aux_head = maps.aux_reads, fcn_head(maps.specs[maps.aux_reads].channels, num_classes)
    settings: dict[str, Any] = {"weights": backbone_weights, "norm": norm, "frozen_stages": frozen_stages}
    trunk, classifier = _trunk_and_head(kind, backbone, maps, num_classes, aux_reads, settings | options)
    network = Segmenter(
        trunk,
        classifier,
        aux_head,
        name=name,
        options=_options(trunk, maps, num_classes=num_classes, aux=aux, dilated=KINDS[kind].output_stride),
        reads=maps.reads,
        aux_reads=aux_reads,
        stride=maps.coarsest,
    )
    _finish_heads(network, norm)
    if weights is not None:
        load_segmenter_weights(network, weights)
    return network


class LoadedSegmenter(NamedTuple):
    """A network in evaluation mode, and what its file says of it."""

    network: Segmenter
    header: WeightsHeader


def load_network(
    weights: str | Path,
    *,
    output_stride: int | None = None,
    norm: Norm = SegmenterOptions.norm,
    frozen_stages: int = 0,
) -> LoadedSegmenter:
    """The network that a weight file of ours is of, built as its header says.

    Args:
        output_stride: another than it was trained with, where the network has one.
        norm, frozen_stages: as in `create_model`.
    Raises:
        OptionError: the network cannot have that output stride.
        WeightsError: the file has no header, is of no network for segmentation, or does not fit its header.
    """
    state, header = read_weights(weights)
    if header is None or not is_segmenter(header.model):
        found = "no header" if header is None else f"that of a {header.model}"
        raise WeightsError(
            f"{weights}: expected a header that names a network for semantic segmentation, such as "
            f"fcn_resnet50, found {found}"
        )
    known = {"num_classes", "aux", "output_stride", *Options.__annotations__} - {"dilation"}
    options = {name: value for name, value in header.options.items() if name in known}
    if output_stride is not None:
        options["output_stride"] = output_stride
    network = create_model(header.model, norm=norm, frozen_stages=frozen_stages, **cast(Any, options))
    adopt_weights(network, state, header, source=weights)
    return LoadedSegmenter(network.eval(), header)


def _parts(name: str) -> tuple[str, str]:
    """Kind and backbone in a name; whether timm has its network is seen when that is built."""
    kind, _, backbone = name.partition("_")
    if kind not in KINDS or not (backbone.startswith(_TIMM) or is_model(backbone)):
        raise OptionError(f"unknown model {name!r}{suggest(name, list_models())}")
    return kind, backbone


def is_segmenter(name: str) -> bool:
    """Whether a name, such as a file's header states, is that of a network for semantic segmentation."""
    try:
        _parts(name)
    except OptionError:
        return False
    return True


def _check(num_classes: int, aux: bool, options: Options) -> None:
    if "dilation" in options:
        raise OptionError("dilation follows from output_stride; give that, and leave out dilation")
    keywords = [name for name in signature(create_model).parameters if name not in ("name", "options")]
    for option in options:
        check_choice("option", option, (*keywords, *Options.__annotations__))
    if type(num_classes) is not int or num_classes < 1:
        raise OptionError(f"num_classes must be at least 1, got {num_classes!r}")
    if not isinstance(aux, bool):
        raise OptionError(f"aux must be true or false, got {aux!r}")


def _trunk_and_head(
    kind: str, backbone: str, maps: Maps, num_classes: int, aux_reads: str | None, settings: dict[str, Any]
) -> tuple[FeatureNetwork, nn.Module]:
    *finer, last = maps.reads
    features = [*finer, *([] if aux_reads is None else [aux_reads])]
    if KINDS[kind].output_stride is None and has_fc6(backbone):
        trunk, fully_connected = create_trunk_and_head(backbone, out_features=features, **settings)
        return trunk, VggSkipHead(fully_connected, maps.channels, num_classes)
    if maps.dilation:
        settings = settings | {"dilation": maps.dilation}
    trunk = create_backbone(backbone, out_features=(*features, last), **settings)
    return trunk, KINDS[kind].build(maps.channels, num_classes, maps.output_stride)


def _options(
    trunk: FeatureNetwork, maps: Maps, *, num_classes: int, aux: bool, dilated: int | None
) -> dict[str, Any]:
    """What the network was built with, besides its name; the output stride says what is dilated."""
    stride = {} if dilated is None else {"output_stride": maps.output_stride}
    kept = {name: value for name, value in trunk.options.items() if name != "dilation"}
    return {"num_classes": num_classes, "aux": aux, **stride, **kept}


def _finish_heads(network: Segmenter, norm: Norm) -> None:
    """Normalisation of the heads has the backbone's epsilon, which a weight file states once."""
    for head in (network.classifier, network.aux_classifier):
        if head is not None:
            set_norm_eps(head, norm_eps(network.backbone))
            if norm == "sync":
                nn.SyncBatchNorm.convert_sync_batchnorm(head)
