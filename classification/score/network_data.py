"""What a classifier's file says of itself, and on which data a network is measured, trained here or not."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backbones import WeightsHeader
from backbones.families import find_family, is_model
from backbones.weights.weight_files import read_header
from classification.config import MeasuringConfig, PretrainConfig
from classification.data.data_sets import DataConfig
from foundation.errors import UserError
from training.config import parse_config

logger = logging.getLogger(__name__)

PROTOCOL = ("image_size", "eval_size", "resize")  # keys of `DataConfig` that say how a network is evaluated


def read_classifier_header(
    weights: str | Path, *, of_detectors: str = "score it with tools/eval_det.py"
) -> WeightsHeader:
    """The header of a classifier's weights, trained here, converted or published.

    Args:
        weights: a file, or a published name.
        of_detectors: what to do with the file instead if it is a detector's.
    Raises:
        UserError: the file is of another kind, or has no header.
    """
    header = read_header(weights)
    if header is None:
        found = (
            "no header that says what network it is of; convert it with "
            f"python tools/convert_weights.py {weights} OUT.safetensors"
        )
    elif "backbone" in header.config:
        found = f"those of a {header.model}; {of_detectors}"
    elif header.model.startswith("timm/"):
        found = f"a backbone, {header.model}, whose classifier is timm's; use timm for it"
    elif not is_model(header.model):
        found = f"those of a {header.model}, which is no network of ours (tools/models.py)"
    else:
        return header
    raise UserError(
        f"{weights}: expected a classifier's weights (of tools/pretrain.py or tools/convert_weights.py, or a "
        f"published name), found {found}"
    )


def was_trained_here(header: WeightsHeader) -> bool:
    """Whether the header tells of a training and of its classes."""
    return "model" in header.config and bool(header.classes)


def measuring_config(
    weights: str | Path, header: WeightsHeader, overrides: Sequence[str], *, needs_data: bool = True
) -> PretrainConfig | MeasuringConfig:
    """The configuration of a network's training, or else the data that overrides name; see `data_section`.

    Without `needs_data` they may name none: then the configuration says how single pictures are seen.
    """
    if was_trained_here(header):
        return parse_config(PretrainConfig, header.config, overrides, source=str(weights))
    if needs_data:
        data = data_section([header], overrides)
    else:
        data = {"kind": "folder"} | evaluation_protocol(header)
    return parse_config(MeasuringConfig, {"data": data}, overrides, source=str(weights))


def data_section(headers: Sequence[WeightsHeader], overrides: Sequence[str]) -> dict[str, Any]:
    """The keys of `DataConfig` for measuring some networks on one set, before the overrides.

    They are those of the first file that knows its own data, unless an override names another `data.kind`.
    Pictures for a file that knows nothing are in folders, unless an override names another kind, and seen as
    in the published evaluation, where the header says that.

    Raises:
        UserError: neither a file nor an override says what pictures.
    """
    known = [header.config["data"] for header in headers if "data" in header.config]
    kinds = [text.removeprefix("data.kind=") for text in overrides if text.startswith("data.kind=")]
    if known and not kinds:
        return dict(known[0])
    if not kinds and not any(text.startswith("data.root=") for text in overrides):
        raise UserError(
            "the weights do not say what pictures they were trained on; name some, for instance "
            "data.kind=cifar10 data.root=data/cifar-10-batches-py, or data.root=data/imagenet for a folder "
            "of each class"
        )
    kind = kinds[-1] if kinds else "folder"
    if kind == "cifar10":
        return {"kind": kind, "val_split": "test"}  # other kinds call it "val"
    return {"kind": kind} | evaluation_protocol(headers[0])


def evaluation_protocol(header: WeightsHeader) -> dict[str, int]:
    """How a network that was not trained here sees pictures, in keys of `DataConfig`.

    Where the header does not say it, that is assumed, and logged: the whole picture for networks of CIFAR,
    and the usual centre crop of `DataConfig` for those of ImageNet.
    """
    if was_trained_here(header):
        return {}
    if "data" in header.config:
        return {key: value for key, value in header.config["data"].items() if key in PROTOCOL}
    usual, size = DataConfig(kind="folder"), find_family(header.model)[0].image_size
    found = {} if size == usual.image_size else {"image_size": size, "resize": size}
    logger.info(
        "assumed of %s, since its file does not say: centre crops of %d pixels from pictures with a short "
        "side of %d, unless data.image_size and data.resize say otherwise",
        *(header.model, size, found.get("resize", usual.resize)),
    )
    return found
