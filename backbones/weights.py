"""Weight files: safetensors with a header that says what they need, read with strict reports."""

import json
import os
import pickle
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from backbones.spec import InputSpec, OptionError

VERSION = 1
_HEADER_KEY = "residual_backbones"


class WeightsError(ValueError):
    """A weight file that cannot be used; the message says why and what to do."""

    exit_status = 2


@dataclass(frozen=True)
class WeightsHeader:
    """What a weight file needs and where it comes from.

    Attributes:
        model: name for `create_model`.
        options: the network's `options`.
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
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    content = save(tensors, metadata={_HEADER_KEY: json.dumps(asdict(header))})
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    """Tensors by name, on the CPU, and the header; foreign files (.pth, .pt, others' safetensors) have none.

    Nothing in the file is executed: .pth files are read with `weights_only=True`.

    Raises:
        WeightsError: no such file, or not a whole file of named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path.absolute()}; give the path of a .safetensors, .pth or .pt file"
        )
    with path.open("rb") as file:
        start = file.read(256).lstrip().lower()
    if not start:
        raise WeightsError(f"{path} is empty; copy or download it again")
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page, not weights; the download failed, repeat it")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pth", ".pt"):
        return _read_pickle(path), None
    raise WeightsError(
        f"{path}: expected a .safetensors, .pth or .pt file, got {path.suffix or 'no suffix'!r}"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], WeightsHeader | None]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a dict
    except SafetensorError as error:
        raise WeightsError(f"{path} is broken or cut off ({error}); copy or download it again") from error
    return state, _parse_header(path, metadata[_HEADER_KEY]) if _HEADER_KEY in metadata else None


def _parse_header(path: Path, text: str) -> WeightsHeader:
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
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError, OptionError) as error:
        raise WeightsError(f"{path} has a broken header: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is broken or holds more than tensors, and is not executed; "
            f"save its state_dict() with torch.save and use that ({str(error).splitlines()[0]})"
        ) from error
    except (RuntimeError, EOFError, KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is broken or cut off ({reason}); copy or download it again") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        found = (
            f"keys {', '.join(map(str, list(state)[:5]))}"
            if isinstance(state, dict)
            else type(state).__name__
        )
        raise WeightsError(f"{path}: expected a state_dict (name → tensor), found {found}")
    return dict(state)


@dataclass(frozen=True)
class LoadReport:
    """Names loaded, and names left out because the caller allowed it."""

    loaded: list[str]
    missing: list[str]
    unexpected: list[str]


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
) -> LoadReport:
    """Copies named tensors into a module; nothing is changed unless everything fits.

    A tensor of another shape counts as missing and unexpected at once: name it in both to leave it out. The
    counter `num_batches_tracked`, which old files and frozen normalisation lack, may be absent on either
    side.

    Args:
        module: its parameters and buffers are the names expected.
        state: name → tensor.
        allow_missing: exact names that may keep the module's values.
        allow_unexpected: exact names in state that may go unused.
    Raises:
        WeightsError: lists what is missing, unexpected or of the wrong shape.
    """
    own = module.state_dict()
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    missing = [name for name in own if name not in state] + misshapen
    unexpected = [name for name in state if name not in own] + misshapen
    refused_missing = [name for name in missing if name not in allow_missing and not _is_counter(name)]
    refused_unexpected = [
        name for name in unexpected if name not in allow_unexpected and not _is_counter(name)
    ]
    shapes = [
        f"{name}: file {tuple(state[name].shape)}, network {tuple(own[name].shape)}"
        for name in misshapen
        if name in refused_missing or name in refused_unexpected
    ]
    problems = [
        *_listing("missing in the file", [name for name in refused_missing if name not in misshapen]),
        *_listing("not in the network", [name for name in refused_unexpected if name not in misshapen]),
        *_listing("of another shape", shapes),
    ]
    if problems:
        raise WeightsError("\n".join(["the weights do not fit the network", *problems]))
    loaded = [name for name in own if name not in missing]
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return LoadReport(loaded, missing, unexpected)


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _listing(title: str, lines: list[str], most: int = 8) -> list[str]:
    """At most one screen for the three kinds together."""
    if not lines:
        return []
    more = [f"    … and {len(lines) - most} more"] if len(lines) > most else []
    return [f"  {len(lines)} {title}:", *(f"    {line}" for line in lines[:most]), *more]
