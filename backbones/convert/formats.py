"""The formats by name: how each is read into our names and written from them, and what it takes."""

import io
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.convert import akamaster_format as cifar
from backbones.convert import caffe_format as caffe
from backbones.convert import detectron2_format as detectron2
from backbones.convert import timm_format as timm
from backbones.convert.caffemodel import read_caffemodel, write_caffemodel, write_mean
from backbones.convert.checkpoint_layouts import Layout, find_network
from backbones.convert.foreign_weights import Contents, rename
from backbones.spec import IMAGENET_INPUT, InputSpec
from backbones.weights.sharded_weights import INDEX
from backbones.weights.weight_files import (
    check_start,
    read_header,
    read_pickle,
    read_weights,
    save_weights,
    to_safetensors,
)
from backbones.weights.weights_header import WeightsHeader, metadata_of, read_metadata
from foundation.atomic_files import write_bytes
from foundation.errors import WeightsError
from foundation.pickles import PickleError, read_arrays

_TORCH = (".pth", ".pt", ".th", ".tar", ".bin", ".ckpt", ".pyth")
# OpenMMLab names its ResNets as torchvision does, but those from Caffe have other strides and pictures.
_CAFFE_STYLE = r"""\bstyle['"]?\s*[=:]\s*['"]caffe['"]"""
# What we write beside tensors and header.
_BESIDE = ("state_dict", "model", "__author__", "matching_heuristics")


@dataclass(frozen=True)
class Format:
    """A form of weight file.

    Attributes:
        read: path and, where the file holds several networks, which → contents in our names.
        write: path, tensors in our names, their header.
        suffixes: that it is written with.
        models: pattern of the names of ours that it can hold.
        input_spec: the pictures its networks take; None if its users set them.
        stride_on, stem_pool: of its networks; None if its users set them.
        shortcuts: options of the paper that its networks can have.
        settings: what the host must be told to use the weights.
        own_suffix: a suffix that tells this format.
        own_name: pattern of a tensor's name that tells it.
    """

    read: Callable[[Path, str | None], Contents]
    write: Callable[[Path, dict[str, Tensor], WeightsHeader], None]
    suffixes: tuple[str, ...]
    models: str = ".*"
    input_spec: InputSpec | None = None
    stride_on: str | None = None
    stem_pool: str | None = None
    shortcuts: tuple[str, ...] = ("B",)
    settings: Callable[[WeightsHeader], str] = lambda header: ""
    own_suffix: str = ""
    own_name: str = "(?!)"


def read_ours(path: Path, part: str | None) -> Contents:
    header = read_header(path) if path.suffix == ".safetensors" else None
    if header is None or part not in (None, "."):
        return read_renamed(partial(rename, our_name=str), path, part)
    return Contents(read_weights(path)[0], header=header)


def read_renamed(
    to_ours: Callable[[Mapping[str, Tensor]], Contents], path: Path, part: str | None
) -> Contents:
    """A torch file or safetensors of others."""
    layout, content = _read_torch(path, part)
    return _place(path, to_ours(layout.tensors), layout, content)


def read_detectron2(path: Path, part: str | None) -> Contents:
    if path.suffix != ".pkl":
        return read_renamed(detectron2.to_ours, path, part)
    content = read_pickled_arrays(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected arrays by name, found {type(content).__name__}")
    layout = find_network(path, content, part)
    contents = detectron2.to_ours(
        {name: tensor for name, tensor in layout.tensors.items() if not name.endswith("_momentum")}
    )
    if content.get("__author__") == "torchvision":  # by detectron2's convert-torchvision-to-d2.py
        contents.input_spec, contents.stride_on = IMAGENET_INPUT, "3x3"
    return _place(path, contents, layout, content)


def read_caffe(path: Path, part: str | None) -> Contents:
    if part is not None:
        raise WeightsError(f"{path}: a file of Caffe holds one network; leave out --part {part}")
    return caffe.to_ours(read_caffemodel(path))


def write_torch(
    from_ours: Callable[[Mapping[str, Tensor]], dict[str, Tensor]],
    path: Path,
    state: dict[str, Tensor],
    header: WeightsHeader,
) -> None:
    """A state_dict alone."""
    tensors = {name: tensor.contiguous() for name, tensor in from_ours(state).items()}
    if path.suffix == ".safetensors":
        write_bytes(path, to_safetensors(tensors, {"format": "pt"} | metadata_of(None, tensors)))
    else:
        _save(path, tensors)


def write_cifar(path: Path, state: dict[str, Tensor], header: WeightsHeader) -> None:
    tensors = {f"module.{name}": tensor.contiguous() for name, tensor in cifar.from_ours(state).items()}
    _save(path, {"state_dict": tensors, **metadata_of(header, tensors)})


def write_detectron2(path: Path, state: dict[str, Tensor], header: WeightsHeader) -> None:
    tensors = detectron2.from_ours(state)
    content = {
        "model": tensors,
        "__author__": "residual-backbones",
        "matching_heuristics": True,  # so that detectron2 finds the names below backbone and roi_heads
        **metadata_of(header, tensors),
    }
    if path.suffix == ".pkl":
        write_pickled_arrays(path, content)
    else:
        _save(path, content)


def write_caffe(path: Path, state: dict[str, Tensor], header: WeightsHeader) -> None:
    mean = path.with_name(f"{path.stem}_mean.binaryproto")
    mean.unlink(missing_ok=True)  # so that a killed call leaves none rather than that of another network
    write_caffemodel(path, header.model, caffe.from_ours(state))
    write_mean(mean, header.input_spec.mean)


def guess_format(path: Path, part: str | None = None) -> str:
    """The format of a file where that is certain.

    Raises:
        WeightsError: no weights at all, several networks and no part, or names that several formats share.
    """
    for format_name, form in FORMATS.items():
        if path.suffix == form.own_suffix:
            return format_name
    if path.suffix == ".safetensors" and read_header(path) is not None:
        return "ours"
    names = _read_torch(path, part)[0].tensors
    for format_name, form in FORMATS.items():
        if any(re.fullmatch(form.own_name, name) for name in names):
            return format_name
    raise WeightsError(
        f"{path}: its names do not tell its format (torchvision's, timm's and this toolkit's ResNets share "
        "theirs); say it with --from"
    )


def _read_torch(path: Path, part: str | None) -> tuple[Layout, dict[str, Any]]:
    """The network, and all that the file holds."""
    if path.name.endswith((".safetensors", INDEX)):
        content: Any = read_weights(path)[0]
    elif path.suffix in _TORCH:
        check_start(path)
        content = read_pickle(path)
    else:
        known = ", ".join((".safetensors", *_TORCH, INDEX))
        raise WeightsError(f"{path}: expected {known}, got {path.suffix!r}")
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: expected tensors by name, found {type(content).__name__}")
    return find_network(path, content, part), content


def _place(path: Path, contents: Contents, layout: Layout, content: dict[str, Any]) -> Contents:
    """Adds where the tensors were found, and the header that our writers put beside them."""
    contents.unused |= layout.beside
    contents.rest_of_detector |= layout.beside.keys()
    contents.place = layout.place
    notes = [layout.note, contents.note]
    meta = content.get("meta")
    saved_config = (meta.get("cfg") or meta.get("config")) if isinstance(meta, dict) else None
    if isinstance(saved_config, str) and re.search(_CAFFE_STYLE, saved_config):
        contents.stride_on, contents.input_spec = "1x1", None
        notes.append("its configuration says style='caffe': bottlenecks stride on the 1x1 convolution")
    contents.note = "; ".join(note for note in notes if note)
    contents.header = read_metadata(path, content, layout.stored, beside=_BESIDE)
    return contents


def read_pickled_arrays(path: Path) -> Any:
    """Content of a .pkl file of plain containers and NumPy arrays, as tensors; nothing in it is run.

    Raises:
        WeightsError: no such file, broken, cut off, or more than that in it.
    """
    check_start(path)
    try:
        return read_arrays(path.read_bytes())
    except PickleError as error:
        raise WeightsError(
            f"{path} is broken, or holds more than arrays ({error}); "
            "copy or download it again, or save it anew with arrays alone"
        ) from error


def write_pickled_arrays(path: Path, content: dict[str, Any]) -> None:
    """Pickles plain containers in which tensors become NumPy arrays.

    Raises:
        WeightsError: a tensor has a type that NumPy lacks.
    """

    def wrap(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: wrap(item) for key, item in value.items()}
        if not isinstance(value, Tensor):
            return value
        if value.dtype == torch.bfloat16 or value.dtype.itemsize == 1 and value.is_floating_point():
            raise WeightsError(f"NumPy has no {value.dtype}; convert the weights to float32 first")
        return value.detach().cpu().contiguous().numpy()

    write_bytes(path, pickle.dumps(wrap(content), protocol=4))


def _save(path: Path, content: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


_RESNETS = r"resnet\d+|resnext\w+|wide_resnet\w+"
FORMATS = {
    "ours": Format(read_ours, save_weights, (".safetensors",)),
    "torchvision": Format(
        partial(read_renamed, timm.from_torchvision),
        partial(write_torch, dict),
        (".pth", ".pt", ".safetensors"),
        models=rf"{_RESNETS}|vgg\d+",
        input_spec=IMAGENET_INPUT,
        stride_on="3x3",
        stem_pool="padded",
    ),
    "timm": Format(
        partial(read_renamed, timm.to_ours),
        partial(write_torch, timm.from_ours),
        (".pth", ".pt", ".safetensors"),
        models=rf"{_RESNETS}|preact_resnet(50|101|152)",
        stride_on="3x3",
        stem_pool="padded",
        own_name=r"stem\.conv\.weight",
    ),
    "detectron2": Format(
        read_detectron2,
        write_detectron2,
        (".pkl", ".pth"),
        models=_RESNETS,
        stem_pool="padded",
        settings=detectron2.settings,
        own_suffix=".pkl",
        own_name=r"(\w+\.)*stem\.conv1\.weight",
    ),
    "caffe": Format(
        read_caffe,
        write_caffe,
        (".caffemodel",),
        models=r"resnet\d+",
        stride_on="1x1",
        stem_pool="ceil",
        own_suffix=".caffemodel",
    ),
    "cifar": Format(
        partial(read_renamed, cifar.to_ours),
        write_cifar,
        (".th", ".pth", ".pt"),
        models=r"resnet\d+_cifar",
        input_spec=IMAGENET_INPUT,
        shortcuts=("A", "B"),
        own_name=r"linear\.weight",
    ),
}
