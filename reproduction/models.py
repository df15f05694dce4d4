"""What the networks are: one line each, and the layer table of one, as Table 1 of He et al. 2015."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Unpack

import torch
from torch import nn

from backbones import create_model
from backbones.complexity import LayerRow, count_parameters, layer_table
from backbones.families import Options, find_family
from backbones.spec import Network
from backbones.weights.published import PublishedWeights, list_weights, published_weights, stated_header
from backbones.weights.timm_catalogue import list_timm_weights
from detection.published_detectors import PUBLISHED_DETECTORS, list_detectors
from foundation.errors import UserError
from reproduction.published.paper import ERRORS
from reproduction.tables import markdown_table

OVERVIEW = (
    *("name", "layers", "parameters, M", "multiply-adds, 1e9", "strides", "paper's error, %"),
    "weights known",
)

PUBLISHED = {  # by the start of the name: whose weights `tools/convert_weights.py` reads
    "resnet18": "torchvision, timm",
    "resnet34": "torchvision, timm",
    "resnet50": "torchvision, timm, detectron2, Caffe",
    "resnet101": "torchvision, timm, detectron2, Caffe",
    "resnet152": "torchvision, timm, Caffe",
    "vgg16": "torchvision",
    "vgg19": "torchvision",
}


def image_size(name: str) -> int:
    """Height and width in pixels of the pictures a network is counted on."""
    return find_family(name)[0].image_size


def overview(names: Sequence[str]) -> str:
    """A Markdown table of networks with their default options."""
    return markdown_table(OVERVIEW, map(_line, names), right=range(1, 4))


def _line(name: str) -> list[str]:
    with torch.device("meta"):
        network = create_model(name)
    rows = layer_table(network, image_size(name))
    error = ERRORS.get(name)
    return [
        name,
        str(sum(not _is_shortcut(row) for row in rows)),
        f"{count_parameters(network) / 1e6:.2f}",
        f"{sum(row.multiply_adds for row in rows) / 1e9:.2f}",
        " ".join(str(spec.stride) for spec in network.feature_specs.values()),
        f"{error.value:.2f} ({error.source})" if error else "",
        PUBLISHED.get(name, ""),
    ]


DETECTORS = ("detector", "box AP", "mask AP", "MiB", "cached")
WEIGHTS = ("weights", "network", "top-1, %", "resized to, crop", "pictures", "MiB", "licence", "cached")


def weights_listing(pattern: str) -> str:
    """Published detectors and weights whose names match a shell pattern; timm's own if it begins with timm/.

    Raises:
        UserError: there are none.
    """
    parts = []
    if detectors := list_detectors(pattern):
        parts.append(detectors_overview(detectors))
    if weights := list_weights(pattern):
        parts.append(weights_overview(weights))
    if pattern.startswith("timm/"):
        parts += list_timm_weights(pattern)
    if not parts:
        raise UserError(f"no weights are called {pattern!r}; without a pattern all are listed")
    if weights and not pattern.startswith("timm/"):
        parts.append('"timm/*" also lists what timm has of every other network.')
    return "\n".join(parts)


def weights_overview(names: Sequence[str]) -> str:
    """A Markdown table of published weights, with the score as their publisher states it."""
    return markdown_table(WEIGHTS, (_weights_line(published_weights()[name]) for name in names), right=(2, 5))


def _weights_line(entry: PublishedWeights) -> list[str]:
    spec = stated_header(entry.name).input_spec
    return [
        entry.name,
        f"{entry.network}, stride on {entry.stride_on}" if entry.stride_on else entry.network,
        f"{entry.top1:.2f}",
        f"{entry.resize}, {entry.crop}",
        f"{spec.order} 0-{spec.range:g}, mean {', '.join(f'{value:g}' for value in spec.mean)}",
        "" if entry.mib is None else f"{entry.mib:.1f}",
        entry.licence,
        "yes" if entry.is_cached else "",
    ]


def detectors_overview(names: Sequence[str]) -> str:
    """A Markdown table of published detectors, with COCO's AP on val2017 as their publisher states it."""
    entries = [PUBLISHED_DETECTORS[name] for name in names]
    rows = (
        [
            entry.name,
            f"{100 * entry.scores['AP']:.1f}",
            f"{100 * entry.scores['segm/AP']:.1f}" if entry.mask else "",
            f"{entry.mib:.1f}",
            "yes" if entry.is_cached else "",
        ]
        for entry in entries
    )
    return markdown_table(DETECTORS, rows, right=(1, 2, 3))


def stages(name: str, **options: Unpack[Options]) -> str:
    """The layer table of one network: a row for each run of equal blocks, in Markdown.

    Projections of shortcuts are counted with their block but not written out; weights are those of
    convolutions and linear layers.

    Args:
        **options: of `backbones.create_model`; the paper's bottlenecks have stride_on="1x1".
    """
    with torch.device("meta"):
        network = create_model(name, **options)
    size = image_size(name)
    heading = [f"{name}, {size} x {size} pixels", "output", "layers", "weights", "multiply-adds"]
    body = [
        [
            stage,
            " x ".join(map(str, group[-1][-1].output[1:])) or "1 x 1",
            _structure(network, group[0]) + (f" x {len(group)}" if len(group) > 1 else ""),
            f"{sum(row.parameters for block in group for row in block):,}",
            f"{sum(row.multiply_adds for block in group for row in block):,}",
        ]
        for stage, group in _groups(network, layer_table(network, size))
    ]
    return markdown_table(heading, body, right=(3, 4))


def _groups(network: Network, rows: Sequence[LayerRow]) -> Iterator[tuple[str, list[list[LayerRow]]]]:
    """(stage, its successive blocks of equal structure)."""
    blocks = [list(block) for _, block in groupby(rows, key=lambda row: row.name.split(".")[:2])]
    of_child = {f"{child}.": stage for stage, children in network.stages.items() for child in children}

    def stage_and_structure(block: list[LayerRow]) -> tuple[str, str]:
        name = f"{block[0].name}."
        stage = next((stage for child, stage in of_child.items() if name.startswith(child)), "classifier")
        return stage, _structure(network, block)

    for (stage, _), group in groupby(blocks, key=stage_and_structure):
        yield stage, list(group)


def _structure(network: Network, block: Sequence[LayerRow]) -> str:
    """[1x1, 64; 3x3, 64; 1x1, 256]: kernels and channels of what is not a shortcut."""
    layers = [network.get_submodule(row.name) for row in block if not _is_shortcut(row)]
    texts = [
        f"{'x'.join(map(str, layer.kernel_size))}, {layer.out_channels}"
        if isinstance(layer, nn.Conv2d)
        else f"linear, {layer.out_features}"
        for layer in layers
    ]
    return f"[{'; '.join(texts)}]"


def _is_shortcut(row: LayerRow) -> bool:
    """Projections and the gates of Highway networks: layers that a network's name does not count."""
    return ".downsample." in row.name or row.name.endswith(".gate")
