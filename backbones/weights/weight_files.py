"""The format of weight files: safetensors with a header that says what they need."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backbones.weights.published import find_weights, near_name
from backbones.weights.sharded_weights import INDEX, check_whole, read_shards
from backbones.weights.weight_values import check_values
from backbones.weights.weights_header import WeightsHeader, metadata_of, read_metadata
from foundation.atomic_files import write_bytes
from foundation.errors import WeightsError
from foundation.torch_archives import TorchFileError, read_torch

CONVERT = "python tools/convert_weights.py FILE OUT.safetensors --from"


def save_weights(path: str | Path, state: Mapping[str, Tensor], header: WeightsHeader) -> None:
    """Writes a safetensors file in one step: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the file could not be written; an earlier file of that name is intact.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(Path(path), to_safetensors(tensors, metadata_of(header, tensors)))


def to_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file with its metadata by name, so that equal weights are equal files.

    The library writes several entries in an order that changes from call to call.
    """
    content = save(tensors, metadata=metadata)
    start = 8 + int.from_bytes(content[:8], "little")
    entries = json.loads(content[8:start])
    entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at multiples of 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    """Tensors by name, on the CPU, and the header; foreign files (.pth, .pt, others' safetensors) have none.

    A published name stands for its file (`find_weights`). Nothing in a file is executed: .pth files are read
    with `weights_only=True`. Weights in several files are read by their index
    (`model.safetensors.index.json`). Files of other forms or with other names go
    through `backbones.convert` first.

    Raises:
        WeightsError: no such file, not a whole file of named tensors, not as we wrote it, or with values that
            no network can use.
    """
    path = find_weights(path)
    check_start(path)
    if path.suffix in (".safetensors", ".pth", ".pt") or path.name.endswith(INDEX):
        state, header = read_shards(path, _read_whole) if path.name.endswith(INDEX) else _read_whole(path)
        check_values(state, path)
        return state, header
    formats = {".pkl": "detectron2", ".caffemodel": "caffe", ".th": "cifar"}
    formats |= dict.fromkeys((".tar", ".bin", ".ckpt", ".pyth"), "FORMAT")
    remedy = f"; convert it with {CONVERT} {formats[path.suffix]}" if path.suffix in formats else ""
    raise WeightsError(
        f"{path}: expected a .safetensors, .pth or .pt file, got {path.suffix or 'no suffix'!r}{remedy}"
    )


def require_weights(weights: str | Path) -> None:
    """Fetches published weights, and refuses a file that is missing or holds no weights at all.

    Raises:
        WeightsError: as of `find_weights` and `check_start`.
    """
    check_start(find_weights(weights))


def _read_whole(path: Path) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    """One file, by its suffix."""
    return _read_safetensors(path, values=True) if path.suffix == ".safetensors" else (_state_in(path), None)


def read_header(path: str | Path) -> WeightsHeader | None:
    """As `read_weights`, the header alone: the values of a safetensors file are not read."""
    path = find_weights(path)
    if path.suffix != ".safetensors":
        return read_weights(path)[1]
    check_start(path)
    return _read_safetensors(path, values=False)[1]


def check_start(path: Path) -> None:
    """Refuses files that hold no weights at all, for which the readers' own messages would mislead.

    Raises:
        WeightsError: the file is absent, unreadable, empty, a web page or a pointer of Git LFS; or a part of
            the weights, with the others in other files.
    """
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise WeightsError(
            f"no weights at {path.absolute()}; give the path of a .safetensors, .pth or .pt file"
            + near_name(path)
        ) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); mend that, or copy it") from error
    if not start:
        raise WeightsError(f"{path} is empty; copy or download it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page, not weights; the download failed, repeat it")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a pointer of Git LFS, not the weights; fetch them with git lfs pull")
    check_whole(path)


def _read_safetensors(path: Path, *, values: bool) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            state = {name: file.get_tensor(name) for name in names}  # mapped into memory, not yet read
    except SafetensorError as error:
        raise WeightsError(f"{path} is broken or cut off ({error}); copy or download it again") from error
    return state, read_metadata(path, metadata, state, beside=("format",), read_values=values)


def read_pickle(path: Path) -> object:
    """What torch.save wrote, tensors on the CPU; nothing in the file is executed.

    Raises:
        WeightsError: broken, or more than tensors and plain containers.
    """
    try:
        return read_torch(path)
    except TorchFileError as error:
        raise WeightsError(
            f"{path} is broken, or holds more than tensors ({error}); "
            "copy or download it again, or save the network's state_dict() alone"
        ) from error


def _state_in(path: Path) -> dict[str, Tensor]:
    state = read_pickle(path)
    if not isinstance(state, dict):
        found = type(state).__name__
    elif all(isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        return dict(state)
    else:
        found = f"keys {', '.join(map(str, list(state)[:5]))}"
    raise WeightsError(
        f"{path}: expected a state_dict (name → tensor), found {found}; save the state_dict alone, "
        f"or convert it with {CONVERT} FORMAT"
    )
