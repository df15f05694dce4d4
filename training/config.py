"""Typed configuration: YAML and `key=value` overrides into nested frozen dataclasses, and back.

Also the section `run`, which every training has.
"""

import copy
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from foundation.errors import UserError, suggest
from foundation.file_reading import readable
from foundation.option_listing import list_keys
from foundation.yaml12 import read_yaml, write_yaml

Schema = TypeVar("Schema")


def data_root() -> Path:
    """Where data sets live: $DATA_ROOT, else data/."""
    return Path(os.environ.get("DATA_ROOT", "data"))


def load_config(schema: type[Schema], path: Path | None, overrides: Sequence[str] = ()) -> Schema:
    """Reads a configuration file, applies overrides and checks everything against the schema.

    Args:
        schema: a frozen dataclass, whose sections are dataclasses in turn; errors name its `command`.
        path: YAML file (booleans and numbers as in YAML 1.2), or None for the defaults.
        overrides: "section.key=value" with the value in YAML, for instance "optim.lr=0.02".
    Raises:
        UserError: listing every unknown key with the closest one, every missing key and every wrong value.
    """
    if path is None:
        return parse_config(schema, {}, overrides, source="configuration")
    if not path.is_file():
        raise UserError(f"no configuration file at {path.absolute()}; expected a YAML file (see configs/)")
    with readable(path, "expected a configuration in YAML, as those in configs/"):
        data = read_yaml(path.read_text(encoding="utf-8-sig"))
    reader = f", as a configuration of {name}" if (name := getattr(schema, "command", None)) else ""
    return parse_config(schema, data or {}, overrides, source=f"{path}{reader}")


def parse_config(
    schema: type[Schema], data: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str
) -> Schema:
    """As `load_config`, from sections already read; `source` is named in errors."""
    if not isinstance(data, Mapping):
        raise UserError(f"{source} must hold sections and keys (a YAML mapping), got {data!r}")
    sections = copy.deepcopy(dict(data))
    for override in overrides:
        _apply(override, sections)
    _leave_out_replaced(schema, sections, [override.partition("=")[0] for override in overrides])
    # Tags make dates and sets in YAML, and aliases lists that hold themselves.
    with readable(source, "expected texts, numbers, lists and sections"):
        text = json.dumps(sections)
    for key, value in _leaves(sections):
        _refuse_extremes(f"{source}: {key}", value)
    try:
        # Strict JSON mode: no text for numbers, but lists for tuples and integers for floats.
        adapter = TypeAdapter(with_config(ConfigDict(extra="forbid"))(schema))
        return adapter.validate_json(text, strict=True)
    except ValidationError as error:
        problems = [_explain(schema, problem) for problem in error.errors(include_url=False)]
        raise UserError("\n  ".join([f"{source}:", *dict.fromkeys(problems)])) from None


def override_values(overrides: Sequence[str]) -> dict[str, Any]:
    """The values of "section.key=value" by dotted key, unchecked; a UserError where one has another form."""
    sections: dict[str, Any] = {}
    for override in overrides:
        _apply(override, sections)
    return dict(_leaves(sections))


def dump_config(config: Any) -> str:
    """YAML of a configuration that `load_config` reads back equal."""
    return write_yaml(json.loads(json.dumps(dataclasses.asdict(config))))  # JSON makes lists of tuples


def config_values(config: Any) -> dict[str, Any]:
    """Every value of a configuration by its dotted key, as YAML has it."""
    return dict(_leaves(json.loads(json.dumps(dataclasses.asdict(config)))))


def complete_config(schema: type[Any], text: str, *, source: str) -> str:
    """The YAML of an earlier release's `dump_config` with the keys, at their defaults, that came since.

    Keys and values that this release does not know raise a UserError.
    """
    return dump_config(parse_config(schema, read_yaml(text) or {}, source=source))


def differences(old: str, new: str) -> list[str]:
    """One line for each dotted key that differs between two configurations in YAML."""
    before, after = (dict(_leaves(read_yaml(text) or {})) for text in (old, new))
    return [
        f"{key}: {before.get(key, '(absent)')} before, {after.get(key, '(absent)')} now"
        for key in dict.fromkeys([*before, *after])
        if (key in before, before.get(key)) != (key in after, after.get(key))
    ]


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _refuse_extremes(where: str, value: Any) -> None:
    """Refuses what neither torch nor the file system takes, endless numbers and texts with a NUL."""
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, int) and not -(2**63) <= part < 2**63:
            digits = str(part)
            raise UserError(f"{where} is {digits[:20]}… of {len(digits)} digits, expected at most 9.2e18")
        if isinstance(part, str) and "\0" in part:
            raise UserError(f"{where} is {part!r}, expected a text without a NUL in it")


def require_positive(section: Any, *names: str) -> None:
    """For a section's `__post_init__`: raises ValueError unless these are None or above 0."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value}")


def require_between(section: Any, low: float, high: float, *names: str) -> None:
    """For a section's `__post_init__`: raises ValueError unless these are None or low <= value <= high."""
    for name in names:
        value = getattr(section, name)
        if value is not None and not low <= value <= high:
            limits = f"from {low} to {high}" if high < math.inf else f"at least {low}"
            raise ValueError(f"{name} must be {limits}, got {value}")


def refuse_both(section: Any) -> None:
    """For a section's `__post_init__`: raises ValueError where two `alternatives` are both set.

    They say the same in steps and in epochs. A key counts as set where it differs from its default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(section)}
    for steps, epochs in section.alternatives:
        values = getattr(section, steps), getattr(section, epochs)
        if values[0] != defaults[steps] and values[1] != defaults[epochs]:
            raise ValueError(
                f"{epochs} {_plain(values[1])} and {steps} {_plain(values[0])} say the same in epochs and in "
                "steps; give one of them"
            )


def _plain(value: Any) -> str:
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, tuple) else format(value, "g")


def device_parts(name: str) -> tuple[str, int | None]:
    """Kind and number of what `run.device` names, ("cuda", 1) of "cuda:1"; a UserError if it is unknown."""
    kind, _, number = name.partition(":")
    if name in ("auto", "cpu", "mps", "cuda", "xpu"):
        return name, None
    if kind in ("cuda", "xpu") and number.isascii() and number.isdecimal():
        return kind, int(number)
    known = suggest(name.lower().replace("gpu", "cuda"), ["auto", "cpu", "cuda", "cuda:0", "xpu", "mps"])
    raise UserError(f"run.device {name!r} is unknown{known}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a run is executed.

    Attributes:
        seed: decides all that is drawn: first weights, order of the pictures, augmentation.
        device: "cpu", "cuda", "xpu" (Intel) or "mps" (Apple), one of several GPUs as "cuda:1"; "auto" takes
            the first of cuda, xpu, mps and cpu that is there. See docs/devices.md for what has been run.
        precision: "bf16" computes the network under autocast in bfloat16, faster on GPUs that have it.
        channels_last: the memory layout that convolutions are fastest with; results differ by rounding.
        compile: compiles each block with torch.compile, equal blocks once; a minute or more at the start.
        recompute: computes the activations inside the blocks again for the backward pass instead of keeping
            them, which saves memory and costs a second forward pass.
        cuda_graph: replays steps, and detections in evaluation, as captured CUDA graphs, which is faster
            where the GPU waits for the host; needs one process, a GPU and SGD (see `training.graph`).
        workers: processes that read pictures, for each process that trains; 0 reads them in that one.
        log_every: steps between two reports of losses and speed.
        eval_every: steps between two evaluations, each after a checkpoint.
        eval_epochs: eval_every in epochs, for instance 1 or 0.5, instead of steps.
        checkpoint_every: steps between two checkpoints, which a killed run continues from.
        checkpoint_epochs: checkpoint_every in epochs instead of steps.
        pictures: draws curves, training batches, validation pictures and statistics of the labels into the
            run folder; see docs/run_folder.md.
        early_stop: evaluations in a row without improvement that end the run; null never ends it early.
    """

    seed: int = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    recompute: bool = False
    cuda_graph: bool = False
    workers: int = 2
    log_every: int = 50
    eval_every: int = 1000
    eval_epochs: float | None = None
    checkpoint_every: int = 1000
    checkpoint_epochs: float | None = None
    pictures: bool = True
    early_stop: int | None = None

    alternatives = (("eval_every", "eval_epochs"), ("checkpoint_every", "checkpoint_epochs"))

    def __post_init__(self) -> None:
        require_positive(self, "log_every", "eval_every", "checkpoint_every", "early_stop")
        require_positive(self, "eval_epochs", "checkpoint_epochs")
        require_between(self, 0, math.inf, "seed", "workers")
        device_parts(self.device)
        refuse_both(self)


def _apply(override: str, data: dict[str, Any]) -> None:
    """Writes one "section.key=value" into the nested mappings."""
    name, equals, text = override.partition("=")
    *sections, key = name.split(".")
    if not equals or not all([*sections, key]):
        raise UserError(
            f"{override!r} is not an override: expected section.key=value, for instance optim.lr=0.02"
        )
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise UserError(f"override {override!r}: {section!r} is a value, not a section")
    with readable(f"override {override!r}", f"expected a YAML value, got {text!r}"):
        data[key] = read_yaml(text)


def _leave_out_replaced(schema: Any, sections: dict[str, Any], overridden: Sequence[str]) -> None:
    """An override replaces what a file says of its alternative, for instance epochs a number of steps.

    Raises:
        UserError: both are overridden, even if one of them with its default.
    """
    pairs = [
        tuple(f"{section}.{name}" for name in pair)
        for section, kind in get_type_hints(schema).items()
        for pair in getattr(kind, "alternatives", ())
    ]
    given = dict(_leaves(sections))
    for pair in [*pairs, *getattr(schema, "alternatives", ())]:
        named = [key for key in pair if key in overridden and given.get(key)]
        if len(named) == 2:
            values = " and ".join(f"{key}={given[key]}" for key in named)
            raise UserError(f"{values} exclude each other; give one of them")
        for key in named:
            (other,) = set(pair) - {key}
            section, _, name = other.rpartition(".")
            if other not in overridden and isinstance(sections.get(section), dict):
                sections[section].pop(name, None)


def _explain(schema: type, problem: Any) -> str:
    """One line for one of pydantic's errors."""
    key = _dotted_key(schema, problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"{key}: unknown key{_closest(key, [known.name for known in list_keys(schema)])}"
    if problem["type"] == "missing":
        value = f"value {last + 1} is " if isinstance(last := problem["loc"][-1], int) else ""
        return f"{key}: {value}missing, and there is no default"
    if problem["type"] == "too_long":
        return f"{key}: expected {problem['ctx']['max_length']} values, got {problem['input']!r}"
    if problem["type"] == "dataclass_type":
        return f"{key or 'configuration'}: expected a section with keys, got {problem['input']!r}"
    if problem["type"] == "value_error":
        return (f"{key}: " if key else "") + problem["msg"].removeprefix("Value error, ")
    return f"{key}: {problem['msg'].replace('Input should be', 'expected')}, got {problem['input']!r}"


def _dotted_key(schema: Any, location: Sequence[str | int]) -> str:
    """pydantic's location without the branches of unions that it ends in (("weights", "str"))."""
    for depth, part in enumerate(location, start=1):
        schema = get_type_hints(schema).get(str(part))
        if not dataclasses.is_dataclass(schema):
            return ".".join(map(str, location[:depth]))
    return ".".join(map(str, location))


def _closest(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the same name elsewhere, else the nearest in its section."""
    section, _, name = key.rpartition(".")
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    if elsewhere:
        return f"; did you mean {' or '.join(map(repr, elsewhere))}?"
    siblings = [other for other in known if section and other.startswith(f"{section}.")]
    return suggest(key, siblings or dict.fromkeys(other.partition(".")[0] for other in known))
