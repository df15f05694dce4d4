"""Where the network lies in a checkpoint: below which keys, and behind which prefix of its tensors' names.

Trainers save more than a network, and wrap it: in DistributedDataParallel (`module.`), torch.compile
(`_orig_mod.`), a module of Lightning (`model.`), a detector (`backbone.body.`), a teacher and a student. A
network is found by a convolution that every one of its kind has. Where a file holds several, the caller says
which.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from foundation.errors import WeightsError

# Keys of checkpoints in which no network is recognised; the reader of a format may know its names.
_CONTAINERS = ("state_dict", "model", "model_state", "blobs")
# Modules that wrap another one, or a part of one, without adding a tensor.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Counters of torch's and OpenMMLab's averages of weights.
_STEPS = ("n_averaged", "steps")
_AVERAGED = re.compile(
    r"(?:^|[._])(?:ema|swa|avg|shadow|encoder_k)(?:[._]|$)|averag|teacher|momentum|target", re.IGNORECASE
)
# The first convolution of the first block: torchvision's ResNets, VGG, timm's pre-activation networks, and
# detectron2's, whose reader knows what lies beside the backbone.
_NETWORK = re.compile(
    r"(?P<prefix>(?:.*?\.)??)(?:layer1\.0\.conv1|features\.0|stages\.0\.blocks\.0\.conv1"
    r"|(?:backbone\.bottom_up\.|backbone\.|bottom_up\.)?res2\.0\.conv1)\.weight"
)
_NOT_READ = {
    r"(.+\.)?embedder\.embedder\.convolution\.weight": "a ResNet of Hugging Face's transformers, whose names "
    "have no reader here; take the same weights in torchvision's or timm's form",
    r"(.+\.)?4\.0\.conv1\.weight": "a ResNet whose layers have numbers for names, as in fastai's learners "
    "and in nn.Sequential(*resnet.children()); save the state_dict() of the ResNet that has these layers",
    r"(.+\.)?patch_embed(dings)?\.(.+\.)?proj(ection)?\.weight": "a vision transformer; the networks here "
    "are convolutional, see tools/models.py",
}
_DEPTH = 4  # of dictionaries in a checkpoint
_LONGEST = 500  # letters of a name that is compared with patterns, whose work grows with its square


@dataclass(frozen=True)
class Layout:
    """A network in a checkpoint.

    Attributes:
        tensors: of the network, without the prefix.
        beside: tensors saved together with it, in the file's names.
        stored: both, as they stand in the file.
        place: the keys and the prefix below which the network lies; "" if it lies at the top.
        note: what was taken and what was taken off the names; "" if nothing was.
    """

    tensors: dict[str, Tensor]
    beside: dict[str, Tensor]
    stored: dict[str, Tensor]
    place: str = ""
    note: str = ""


@dataclass(frozen=True)
class _Part:
    """A dictionary in a checkpoint, and the prefix of a network's names in it, without wrappers."""

    stored: Mapping[Any, Any]
    prefix: str


def find_network(path: Path, content: Mapping[Any, Any], part: str | None = None) -> Layout:
    """The network in a checkpoint.

    Args:
        path: of the checkpoint, for messages.
        content: of the checkpoint: tensors by name, or dictionaries of them among other things.
        part: which one of several networks, by the name that the refusal without it lists.
    Raises:
        WeightsError: no tensors, several networks and no part, no such part, or a network of a known project
            that has no reader here.
    """
    parts = _find_parts(content)
    if part is not None and (part.rstrip(".") or ".") not in parts:
        known = _listing(parts) or "none is recognised"
        raise WeightsError(f"{path} has no network below {part!r}; the networks in it: {known}")
    if part is None and len(parts) > 1:
        raise WeightsError(
            f"{path} holds {len(parts)} networks: {_listing(parts)}; choose one with --part, for example "
            f"--part {next(iter(parts))}"
        )
    if not parts:
        _refuse_known(path, content)
        inner = next((content[key] for key in _CONTAINERS if isinstance(content.get(key), dict)), content)
        return _take(_only_tensors(path, inner), {"": ""}, "")
    place = next(iter(parts)) if part is None else part.rstrip(".") or "."
    stored = parts[place].stored
    prefixes = {name: other.prefix for name, other in parts.items() if other.stored is stored}
    layout = _take(_only_tensors(path, stored), prefixes, place)
    others = ", ".join(repr(name) for name in parts if name != place)
    taken = [f"taken from below {place!r}, not from {others}"] if others else []
    return replace(layout, note="; ".join([*taken, layout.note] if layout.note else taken))


def _take(stored: dict[str, Tensor], prefixes: Mapping[str, str], place: str) -> Layout:
    """One of the networks in a dictionary, whose names' prefixes stand by their places."""
    bare, prefix = _without_wrappers(stored), prefixes[place]
    longest_first = sorted(prefixes.values(), key=len, reverse=True)
    tensors: dict[str, Tensor] = {}
    beside: dict[str, Tensor] = {}
    steps: list[str] = []
    for name, tensor in stored.items():
        owner = next((text for text in longest_first if bare[name].startswith(text)), None)
        if name.rpartition(".")[2] in _STEPS and tensor.numel() == 1:
            steps += [name] if owner in (None, prefix) else []
        elif owner == prefix:
            tensors[bare[name].removeprefix(prefix)] = tensor
        elif owner is None:
            beside[name] = tensor
    wrapped = [name.split(".") for name in stored if bare[name] != name]
    taken_off = [f"{text}." for text in _WRAPPERS if any(text in name for name in wrapped)]
    taken_off += [prefix] if prefix else []
    said = " and ".join(map(repr, taken_off))
    notes = [f"{said} taken off the tensors' names"] if taken_off else []
    notes += [f"weights averaged over {stored[name].item():g} steps ({name})" for name in steps]
    # OpenMMLab's earlier EMAHook: buffers ema_backbone_conv1_weight …, exchanged with the weights on saving.
    if flat := sum(name.startswith("ema_") for name in beside):
        notes.append(f"{flat} tensors 'ema_…', a second set of weights averaged or plain, were not taken")
    return Layout(tensors, beside, stored, "" if place == "." else place, "; ".join(notes))


def _find_parts(content: Mapping[Any, Any]) -> dict[str, _Part]:
    """Networks by the name that tells them apart: keys of the checkpoint and the prefix, as in the file."""
    parts: dict[str, _Part] = {}
    for keys, stored in _dictionaries(content, (), set()):
        bare = _without_wrappers({name: value for name, value in stored.items() if isinstance(name, str)})
        kernels = [name for name in bare if len(name) < _LONGEST and _is_kernel(stored[name])]
        for name in kernels:
            if found := _NETWORK.fullmatch(bare[name]):
                prefix = found["prefix"]
                convolution = bare[name].removeprefix(prefix)
                in_file = name.removesuffix(convolution) if name.endswith(convolution) else prefix
                parts[".".join([*keys, in_file.rstrip(".")]).strip(".") or "."] = _Part(stored, prefix)
    return parts


def _dictionaries(
    content: Mapping[Any, Any], keys: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """The dictionary and those in it, each once, with the keys that lead to it."""
    seen.add(id(content))
    yield keys, content
    for key, value in content.items():
        if isinstance(key, str) and isinstance(value, dict) and id(value) not in seen and len(keys) < _DEPTH:
            yield from _dictionaries(value, (*keys, key), seen)


def _is_kernel(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4


def _without_wrappers(stored: Mapping[str, object]) -> Mapping[str, str]:
    """Each name without its wrappers, wherever they stand; as it is where two names would become one."""
    bare = {name: ".".join(step for step in name.split(".") if step not in _WRAPPERS) for name in stored}
    return bare if len(set(bare.values())) == len(bare) else {name: name for name in stored}


def _only_tensors(path: Path, stored: Mapping[Any, Any]) -> dict[str, Tensor]:
    others = [str(name) for name, value in stored.items() if not isinstance(value, Tensor)]
    if others or not stored:
        raise WeightsError(
            f"{path}: expected tensors by name, found {', '.join(others[:5]) or 'nothing'}; "
            "save the state_dict alone"
        )
    return {str(name): tensor for name, tensor in stored.items()}


def _refuse_known(path: Path, content: Mapping[Any, Any]) -> None:
    for _, stored in _dictionaries(content, (), set()):
        for name in stored:
            for pattern, what in _NOT_READ.items():
                if isinstance(name, str) and len(name) < _LONGEST and re.fullmatch(pattern, name):
                    raise WeightsError(f"{path} holds {name!r}: {what}")


def _listing(parts: Mapping[str, _Part]) -> str:
    """At most eight parts, with what their names say of them."""
    shown = [f"{place!r}{' (averaged)' * bool(_AVERAGED.search(place))}" for place in list(parts)[:8]]
    return ", ".join(shown) + f" and {len(parts) - 8} more" * (len(parts) > 8)
