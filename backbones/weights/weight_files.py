"""The format of weight files: safetensors with a header that says what they need."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backbones.spec import InputSpec
from foundation.atomic_files import write_bytes
from foundation.errors import OptionError, WeightsError
from foundation.torch_archives import TorchFileError, read_torch

VERSION = 1
HEADER_KEY = "residual_backbones"
CONVERT = "python tools/convert_weights.py FILE OUT.safetensors --from"


@dataclass(frozen=True)
class WeightsHeader:
    """What a weight file needs and where it comes from.

    Attributes:
        model: name for `create_model`; of a detector, its class.
        options: the network's `options`; of a detector, those of its backbone and its category_ids.
        input_spec: pictures it was trained on.
        norm_eps: epsilon of its batch normalisation.
        dataset: training set.
        score: metric → value, on the training set's validation part.
        config: the configuration of the run.
        classes: names of the classifier's outputs, in order.
        version: of this header.
    """

    model: str
    options: dict[str, Any]
    input_spec: InputSpec
    norm_eps: float = 1e-5
    dataset: str = ""
    score: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    version: int = VERSION


def save_weights(path: str | Path, state: Mapping[str, Tensor], header: WeightsHeader) -> None:
    """Writes a safetensors file in one step: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the file could not be written; an earlier file of that name is intact.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(Path(path), save(tensors, metadata={HEADER_KEY: header_text(header)}))


def header_text(header: WeightsHeader) -> str:
    """The header as it stands in a file; `parse_header` reads it."""
    return json.dumps(asdict(header))


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    """Tensors by name, on the CPU, and the header; foreign files (.pth, .pt, others' safetensors) have none.

    Nothing in the file is executed: .pth files are read with `weights_only=True`. Files of other forms or
    with other names go through `backbones.convert` first.

    Raises:
        WeightsError: no such file, or not a whole file of named tensors.
    """
    path = Path(path)
    check_start(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, tensors=True)
    if path.suffix in (".pth", ".pt"):
        return _state_in(path), None
    formats = {".pkl": "detectron2", ".caffemodel": "caffe", ".th": "cifar"}
    remedy = f"; convert it with {CONVERT} {formats[path.suffix]}" if path.suffix in formats else ""
    raise WeightsError(
        f"{path}: expected a .safetensors, .pth or .pt file, got {path.suffix or 'no suffix'!r}{remedy}"
    )


def read_header(path: str | Path) -> WeightsHeader | None:
    """The header alone, without the tensors of a safetensors file; see `read_weights`."""
    path = Path(path)
    if path.suffix != ".safetensors":
        return read_weights(path)[1]
    check_start(path)
    return _read_safetensors(path, tensors=False)[1]


def check_start(path: Path) -> None:
    """Refuses files that hold no weights at all, for which the readers' own messages would mislead.

    Raises:
        WeightsError: the file is absent, unreadable, empty, a web page or a pointer of Git LFS.
    """
    try:
        with path.open("rb") as file:
            start = file.read(256).lstrip().lower()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise WeightsError(
            f"no weights at {path.absolute()}; give the path of a .safetensors, .pth or .pt file"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); mend that, or copy it") from error
    if not start:
        raise WeightsError(f"{path} is empty; copy or download it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page, not weights; the download failed, repeat it")
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(f"{path} is a pointer of Git LFS, not the weights; fetch them with git lfs pull")


def _read_safetensors(path: Path, *, tensors: bool) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if tensors else ()
            state = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise WeightsError(f"{path} is broken or cut off ({error}); copy or download it again") from error
    return state, parse_header(path, metadata[HEADER_KEY]) if HEADER_KEY in metadata else None


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
        header = WeightsHeader(**values, input_spec=InputSpec(**spec))
        for name in ("options", "score", "config"):
            if not isinstance(getattr(header, name), dict):
                raise TypeError(f"{name} must be a mapping, got {getattr(header, name)!r}")
        if not isinstance(header.norm_eps, float) or header.norm_eps <= 0:
            raise TypeError(f"norm_eps must be a number above 0, got {header.norm_eps!r}")
        return header
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, OptionError) as error:
        raise WeightsError(
            f"{path} has a broken header ({error}); copy or download it again, or save it anew"
        ) from error


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
