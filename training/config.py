"""Typed configuration: YAML and `key=value` overrides into nested frozen dataclasses, and back."""

import copy
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from foundation.errors import UserError, suggest
from foundation.file_reading import readable
from foundation.yaml12 import read_yaml, write_yaml

Schema = TypeVar("Schema")


def data_root() -> Path:
    """Where data sets live: $DATA_ROOT, else data/."""
    return Path(os.environ.get("DATA_ROOT", "data"))


def load_config(schema: type[Schema], path: Path | None, overrides: Sequence[str] = ()) -> Schema:
    """Reads a configuration file, applies overrides and checks everything against the schema.

    Args:
        schema: a frozen dataclass, whose sections are dataclasses in turn.
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
    return parse_config(schema, data or {}, overrides, source=str(path))


def parse_config(
    schema: type[Schema], data: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str
) -> Schema:
    """As `load_config`, from sections already read; `source` is named in errors."""
    if not isinstance(data, Mapping):
        raise UserError(f"{source} must hold sections and keys (a YAML mapping), got {data!r}")
    sections = copy.deepcopy(dict(data))
    for override in overrides:
        _apply(override, sections)
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


def dump_config(config: Any) -> str:
    """YAML of a configuration that `load_config` reads back equal."""
    return write_yaml(json.loads(json.dumps(dataclasses.asdict(config))))  # JSON makes lists of tuples


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


def _explain(schema: type, problem: Any) -> str:
    """One line for one of pydantic's errors."""
    key = _dotted_key(schema, problem["loc"])
    if problem["type"] == "unexpected_keyword_argument":
        return f"{key}: unknown key{_closest(key, _keys(schema))}"
    if problem["type"] == "missing":
        return f"{key}: missing, and there is no default"
    if problem["type"] == "dataclass_type":
        return f"{key or 'configuration'}: expected a section with keys, got {problem['input']!r}"
    if problem["type"] == "value_error":
        return f"{key}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{key}: {problem['msg'].replace('Input should be', 'expected')}, got {problem['input']!r}"


def _dotted_key(schema: Any, location: Sequence[str | int]) -> str:
    """pydantic's location without the branches of unions that it ends in (("weights", "str"))."""
    for depth, part in enumerate(location, start=1):
        schema = get_type_hints(schema).get(str(part))
        if not dataclasses.is_dataclass(schema):
            return ".".join(map(str, location[:depth]))
    return ".".join(map(str, location))


def _keys(schema: Any, prefix: str = "") -> list[str]:
    """Every dotted key that a schema knows."""
    keys = []
    for name, kind in get_type_hints(schema).items():
        keys += _keys(kind, f"{prefix}{name}.") if dataclasses.is_dataclass(kind) else [f"{prefix}{name}"]
    return keys


def _closest(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the same name elsewhere, else the nearest in its section."""
    section, _, name = key.rpartition(".")
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    if elsewhere:
        return f"; did you mean {' or '.join(map(repr, elsewhere))}?"
    siblings = [other for other in known if section and other.startswith(f"{section}.")]
    return suggest(key, siblings or dict.fromkeys(other.partition(".")[0] for other in known))
