"""Weights in several files, as Hugging Face writes large ones: shards, and an index of which holds what."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from foundation.errors import WeightsError

INDEX = ".index.json"
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)")
_LARGEST = 32 << 20  # bytes of an index; that of a network with a hundred thousand tensors has a quarter


def check_whole(path: Path) -> None:
    """Refuses one shard of several.

    Raises:
        WeightsError: names the index, which is read in its place.
    """
    found = _SHARD.fullmatch(path.name)
    if found and int(found["count"]) > 1:
        index = f"{found['stem']}{found['suffix']}{INDEX}"
        raise WeightsError(
            f"{path} is one of {int(found['count'])} files that hold the weights together; give {index}, the "
            "index that lies beside them"
        )


def read_shards(
    path: Path, read: Callable[[Path], tuple[dict[str, Tensor], Any]]
) -> tuple[dict[str, Tensor], None]:
    """Tensors by name from all files that an index names; such files have no header of ours.

    Args:
        path: of the index.
        read: reads one file.
    Raises:
        WeightsError: the index is broken, names a file outside its folder, or is not what the files hold.
    """
    shards: dict[str, set[str]] = {}
    for name, shard in _weight_map(path).items():
        shards.setdefault(shard, set()).add(name)
    state: dict[str, Tensor] = {}
    for shard, names in shards.items():
        if not path.with_name(shard).is_file():
            raise WeightsError(
                f"{path} names {shard}, which is not beside it; copy all {len(shards)} files into one folder"
            )
        tensors, _ = read(path.with_name(shard))
        if differing := sorted(names ^ tensors.keys()):
            where = "the index alone" if differing[0] in names else "the file alone"
            raise WeightsError(
                f"{path} and {shard} disagree: {differing[0]!r} stands in {where}; download both again"
            )
        state |= tensors
    return state, None


def _weight_map(path: Path) -> dict[str, str]:
    """Names of tensors → names of files."""
    if path.stat().st_size > _LARGEST:
        raise WeightsError(f"{path} has more than {_LARGEST >> 20} MiB; an index of weights is far smaller")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is broken ({error}); copy or download it again") from error
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise WeightsError(f"{path}: expected an index with a weight_map, name of a tensor → name of a file")
    for name, shard in found.items():
        if not isinstance(shard, str) or not re.fullmatch(r"[\w.-]+\.(safetensors|bin|pth|pt)", shard):
            raise WeightsError(
                f"{path}: {name!r} is said to be in {shard!r}; expected the name of a .safetensors or .bin "
                "file in the folder of the index"
            )
    return found
