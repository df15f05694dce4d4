"""What a weight file says of itself, and how it stands in the file, guarded by checksums.

A safetensors file of ours has two entries of metadata, as have pickles that we write for others: the header,
and SHA-256 digests by which a changed bit anywhere is found. Releases before the digests read both kinds of
files, and this one reads files of theirs.
"""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones.spec import InputSpec
from foundation.errors import OptionError, WeightsError

VERSION = 1
HEADER_KEY = "residual_backbones"
DIGESTS_KEY = "residual_backbones_sha256"
_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "model": (str, "text"),
    "options": (dict, "a mapping"),
    "input_spec": (InputSpec, "an InputSpec"),
    "norm_eps": ((int, float), "a number above 0"),
    "dataset": (str, "text"),
    "score": (dict, "a mapping"),
    "config": (dict, "a mapping"),
    "classes": ((list, tuple), "a list of text"),
}


@dataclass(frozen=True)
class WeightsHeader:
    """What a weight file needs and where it comes from.

    Attributes:
        model: name for `create_model`; of a detector, its class.
        options: the network's `options`; of a detector, those of its backbone and its category_ids.
        input_spec: pictures it was trained on.
        norm_eps: epsilon of its batch normalisation.
        dataset: training set.
        score: metric → value, on the training set's validation part; None where it is not defined.
        config: the configuration of the run.
        classes: names of the classifier's outputs, in order.
        version: of this header.
    Raises:
        OptionError: a value has another type than these, or is outside its range.
    """

    model: str
    options: dict[str, Any]
    input_spec: InputSpec
    norm_eps: float = 1e-5
    dataset: str = ""
    score: dict[str, float | None] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    version: int = VERSION

    def __post_init__(self) -> None:
        for name, (types, words) in _TYPES.items():
            _require(isinstance(getattr(self, name), types), name, words, getattr(self, name))
        sound = 0 < self.norm_eps < math.inf and self.norm_eps is not True
        _require(sound, "norm_eps", "a number above 0", self.norm_eps)
        for name in self.classes:
            _require(isinstance(name, str), "classes", "a list of text", name)
        for metric, value in self.score.items():
            _require(value is None or _is_number(value), f"score {metric!r}", "a number", value)
        known = len(self.classes)
        num_classes, ids = self.options.get("num_classes", known or 1), self.options.get("category_ids", [])
        _require(_is_count(num_classes) and num_classes > 0, "num_classes", "a number above 0", num_classes)
        _require(known in (0, num_classes), "num_classes", f"{known}, as there are classes", num_classes)
        _require(isinstance(ids, list) and all(map(_is_count, ids)), "category_ids", "whole numbers", ids)
        _require(not (ids and known) or len(ids) == known, "category_ids", f"{known}, one for a class", ids)


def metadata_of(header: WeightsHeader | None, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The entries that a file of these tensors holds beside them; without header the digests alone."""
    entries = {} if header is None else {HEADER_KEY: json.dumps(asdict(header))}
    digests = {
        "header": _header_digest(entries.get(HEADER_KEY, ""), tensors),
        "tensors": _tensor_digest(tensors),
    }
    return entries | {DIGESTS_KEY: json.dumps(digests)}


def read_metadata(
    path: Path,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    beside: Collection[str],
    read_values: bool = True,
) -> WeightsHeader | None:
    """The header in a file, None in a file of others or in their form.

    Args:
        metadata: what the file holds beside its tensors, by name.
        tensors: of the file, with its names.
        beside: names of metadata that a file of ours may have beside our own.
        read_values: also compare the tensors' bytes; without, only their names, types and shapes.
    Raises:
        WeightsError: the file is not as it was written, the header is broken or of another version.
    """
    text, digests = metadata.get(HEADER_KEY), metadata.get(DIGESTS_KEY)
    if text is None and digests is None:
        return None
    others = metadata.keys() - {HEADER_KEY, DIGESTS_KEY, *beside}
    if not isinstance(text, str | None) or others:  # a changed letter in the name of one entry
        raise _damaged(path, f"its metadata {sorted(map(str, metadata))} is not what was written")
    if text is not None and digests is None:  # written by an earlier release
        return parse_header(path, text)
    try:
        expected = json.loads(str(digests))
        header_digest, tensor_digest = expected["header"], expected["tensors"]
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, f"its {DIGESTS_KEY} is unreadable") from error
    if header_digest != _header_digest(text or "", tensors):
        raise _damaged(path, "its header is not the one that was written")
    if read_values and tensor_digest != _tensor_digest(tensors):
        raise _damaged(path, "its tensors are not those that were written")
    return None if text is None else parse_header(path, text)


def parse_header(path: Path, text: str) -> WeightsHeader:
    """The header that stands in a file.

    Raises:
        WeightsError: it is broken, or of another version.
    """
    try:
        values = json.loads(text)
        if values.get("version") != VERSION:
            raise WeightsError(
                f"{path} has a header of version {values.get('version')}, this release reads {VERSION}; "
                "use the release that wrote it"
            )
        spec = values.pop("input_spec")
        spec["mean"], spec["std"] = tuple(spec["mean"]), tuple(spec["std"])
        return WeightsHeader(**values, input_spec=InputSpec(**spec))
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, OptionError, RecursionError) as error:
        raise WeightsError(
            f"{path} has a broken header ({error}); copy or download it again, or save it anew"
        ) from error


def _header_digest(text: str, tensors: Mapping[str, Tensor]) -> str:
    forms = [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in sorted(tensors.items())]
    return hashlib.sha256(json.dumps([text, forms]).encode()).hexdigest()


def _tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path} is broken or was changed: {what}; copy or download it again, or, if it was changed on "
        "purpose, write it with backbones.save_weights"
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _require(holds: bool, name: str, words: str, value: object) -> None:
    if not holds:
        raise OptionError(f"{name} must be {words}, got {value!r}")
