"""Published weights by name: the table of them, and how a name becomes a file of ours in the cache."""

import csv
import logging
import re
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, cast

from backbones.families import is_model
from backbones.weights.downloads import converted, converted_place, place_of
from backbones.weights.timm_catalogue import TimmWeights, find_timm_weights
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError, suggest

logger = logging.getLogger(__name__)
TABLE = Path(__file__).with_name("published_weights.tsv")
SOURCES = ("torchvision", "msra", "timm")
CONVERSION = 1  # part of the names of converted files: raise it when the same file is converted otherwise
_SUFFIXES = (".safetensors", ".pth", ".pt", ".th", ".tar", ".bin", ".ckpt", ".pyth", ".pkl", ".json")

# torchvision's names of architectures that find objects.
_DETECTOR = re.compile(
    r"torchvision/(fasterrcnn|maskrcnn|keypointrcnn|retinanet|fcos|ssd|ssdlite)\w*\.", re.A
)


@dataclass(frozen=True)
class PublishedWeights:
    """A line of the table.

    Attributes:
        name: "<source>/<network>.<tag>".
        url: of the file as its publisher has it.
        mib: size in MiB; None where the publisher states none.
        digest: digits of its SHA-256 that are published, all 64 or the first 8 or none.
        format: of `backbones.convert`.
        network: our name of it.
        stride_on: of its bottlenecks, "" where it has none.
        input: its pictures, a name of `backbones.convert.conversion.PICTURES`.
        top1, top5: published accuracies in %, one crop on ImageNet's validation part.
        resize, crop: of that score, sides in pixels.
        licence: SPDX identifier.
    """

    name: str
    url: str
    mib: float | None
    digest: str
    format: str
    network: str
    stride_on: str
    input: str
    top1: float
    top5: float
    resize: int
    crop: int
    licence: str

    @property
    def path(self) -> Path:
        """Where the converted file is, or will be."""
        return converted_place(self.name, CONVERSION)

    @property
    def is_cached(self) -> bool:
        """Whether nothing need be downloaded."""
        return self.path.is_file() or place_of(self.url).is_file()


@cache
def published_weights() -> dict[str, PublishedWeights]:
    """The table by name."""
    types = PublishedWeights.__annotations__
    with TABLE.open(newline="") as file:
        rows = [
            {key: _value(types[key], text) for key, text in row.items()}
            for row in csv.DictReader(file, delimiter="\t")
        ]
    return {row["name"]: PublishedWeights(**row) for row in rows}


def list_weights(pattern: str = "*") -> list[str]:
    """Names of the table that match a shell pattern."""
    return [name for name in published_weights() if fnmatchcase(name, pattern)]


def published_name(weights: str | Path) -> str | None:
    """The text as a published name, if it has the form of one and is no existing file."""
    path = Path(weights)
    parts = path.parts
    if len(parts) != 2 or parts[0] not in SOURCES or path.suffix in _SUFFIXES or path.exists():
        return None
    return path.as_posix()


def near_name(weights: str | Path) -> str:
    """For an error about a path without a file: how published weights are named, the closest first."""
    if Path(weights).suffix not in _SUFFIXES:
        for near in get_close_matches(str(weights), published_weights(), n=1):
            return f", or a published name; did you mean {near!r}?"
    return ", or a published name (tools/models.py --weights lists them)"


def find_weights(weights: str | Path) -> Path:
    """The file of weights that are given by path or by published name.

    A name is looked for in the cache; if it is not there, the file is fetched, verified and converted.

    Args:
        weights: a path, which an existing file always is; or "<source>/<name>" (`list_weights`; also
            "timm/<name>.<tag>" for every network that timm has weights of).
    Raises:
        WeightsError: there are no such weights, they cannot be had, or the cache cannot be written.
    """
    name = published_name(weights)
    if name is None:
        return Path(weights)
    target = converted_place(name, CONVERSION)
    if target.is_file():  # without a question to timm, which takes seconds
        return target
    entry = _entry(name)
    if isinstance(entry, PublishedWeights):
        return converted(target, entry.url, entry.digest, partial(_convert, entry))
    return converted(target, entry.url, "", partial(_give_header, entry.header))


def stated_header(name: str) -> WeightsHeader:
    """What the file of a published name says of itself, without the number of classes; nothing is fetched.

    Raises:
        WeightsError: there are no such weights.
    """
    from backbones.convert.conversion import PICTURES

    entry = _entry(name)
    if not isinstance(entry, PublishedWeights):
        return entry.header
    options = {"stride_on": entry.stride_on} if entry.stride_on else {}
    return WeightsHeader(entry.network, options, PICTURES[entry.input], **_facts(entry))


def _entry(name: str) -> PublishedWeights | TimmWeights:
    """The line of the table, or for a network that stays timm's what timm says."""
    if entry := published_weights().get(name):
        return entry
    network = name.removeprefix("timm/").split(".")[0]
    if name.startswith("timm/") and not is_model(network):
        return find_timm_weights(name)
    if _DETECTOR.match(name):  # whose names `detection.published_detectors` knows
        raise WeightsError(
            f"{name} is a detector, expected a classifier or backbone; tools/eval_det.py takes the detectors "
            "that tools/models.py --weights lists"
        )
    raise WeightsError(f"unknown weights {name!r}{suggest(name, list_weights(f'{Path(name).parts[0]}/*'))}")


def _facts(entry: PublishedWeights) -> dict[str, Any]:
    """Values of the header that no tensor tells."""
    return {
        "dataset": "ImageNet",
        "score": {"top1": entry.top1, "top5": entry.top5},
        "config": {"data": {"kind": "folder", "image_size": entry.crop, "resize": entry.resize}},
    }


def _convert(entry: PublishedWeights, source: Path, target: Path) -> None:
    from backbones.convert import convert  # only here: it reads files of ours with the modules beside this

    conversion = convert(
        source,
        target,
        source_format=entry.format,
        model=entry.network,
        stride_on=cast(Literal["1x1", "3x3"] | None, entry.stride_on or None),
        source_input=entry.input,
        facts=_facts(entry),
    )
    logger.info("%s is %s\nwritten to %s", entry.name, conversion.describe(), target)


def _give_header(header: WeightsHeader, source: Path, target: Path) -> None:
    """Timm's tensors as they are, with what timm says of them."""
    from backbones.weights.weight_files import read_weights, save_weights  # which find files with this module

    save_weights(target, read_weights(source)[0], header)


def _value(kind: Any, text: str) -> Any:
    if kind == float | None:
        return float(text) if text else None
    return kind(text)
