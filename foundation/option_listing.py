"""Every key of a configuration with its type, default and meaning, read from the dataclasses themselves.

A meaning stands in the docstring of the key's class, under "Attributes:".
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from inspect import getdoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from foundation.errors import UserError

NAMES = {int: "integer", float: "number", str: "text", bool: "true | false", NoneType: "null"}
WIDTH = 110


class Key(NamedTuple):
    """One key of a configuration.

    Attributes:
        name: dotted, as on the command line.
        kind: its type in words, or its choices.
        default: as in YAML; "required" where there is none.
        meaning: in words; empty where its class documents none.
    """

    name: str
    kind: str
    default: str
    meaning: str


def list_keys(schema: type[Any], defaults: Any = None, prefix: str = "") -> list[Key]:
    """Every key of a configuration, section by section.

    Args:
        schema: a dataclass whose sections are dataclasses in turn.
        defaults: an instance with the defaults, where they are not those of the class.
        prefix: of the names.
    """
    hints, meanings = get_type_hints(schema, include_extras=True), _meanings(schema)
    keys = []
    for field in fields(schema):
        default: Any = field.default if defaults is None else getattr(defaults, field.name)
        factory: Any = field.default_factory
        if default is MISSING and factory is not MISSING:
            default = factory()
        hint, name = hints[field.name], f"{prefix}{field.name}"
        if isinstance(hint, type) and is_dataclass(hint):
            keys += list_keys(hint, None if default is MISSING else default, f"{name}.")
        else:
            text = "required" if default is MISSING else _yaml(default)
            keys.append(Key(name, _in_words(hint), text, meanings.get(field.name, "")))
    return keys


def select_keys(keys: Sequence[Key], pattern: str) -> list[Key]:
    """The keys whose names fit a pattern, or hold a text; a UserError names the closest if there is none."""
    shell = any(sign in pattern for sign in "*?[")
    chosen = [key for key in keys if (fnmatchcase(key.name, pattern) if shell else pattern in key.name)]
    if not chosen:
        names = [key.name for key in keys]
        close = get_close_matches(pattern, [*names, *(name.rpartition(".")[2] for name in names)], n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"no key fits {pattern!r}; {hint}--keys alone lists all {len(keys)}")
    return chosen


def describe_keys(schema: type[Any], pattern: str = "") -> str:
    """The keys that fit, each with type and default on a line of its own and the meaning below."""
    lines = []
    for key in select_keys(list_keys(schema), pattern):
        lines.append(f"{key.name}  ({key.kind}; {_of_default(key)})")
        lines += textwrap.wrap(key.meaning, WIDTH - 4, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


INTRODUCTION = """# Every key

This page is written by `python tools/keys.py > docs/configuration.md`. Every tool that takes keys also lists
them: `python tools/train_det.py --keys` prints all, `--keys schedule` those with this in their names, and
`--keys "optim.*"` those that fit.

A key stands in a YAML file under its section, or on the command line as `section.key=value`, which wins.
`null` means: not set. What is given in epochs is resolved to steps when the data are opened; a run's
`config.yaml` holds the steps. On the command line a key in epochs replaces the file's in steps, and the other
way round; both at once are refused.
"""


def configuration_page(schemas: Mapping[str, type[Any]]) -> str:
    """Markdown: the keys of each configuration, by its title, in a table for every section."""
    parts = [INTRODUCTION]
    for title, schema in schemas.items():
        parts.append(f"\n## {title}\n")
        sections: dict[str, list[Key]] = {}
        for key in list_keys(schema):
            sections.setdefault(key.name.rpartition(".")[0], []).append(key)
        for section, keys in sections.items():
            parts.append(
                f"\n### {title}: `{section}`\n" if section else f"\n### {title}: without a section\n"
            )
            parts.append("\n| key | type | default | meaning |\n|---|---|---|---|\n")
            parts += [
                f"| `{k.name}` | {_cell(k.kind)} | `{k.default}` | {_cell(k.meaning)} |\n" for k in keys
            ]
    return "".join(parts)


def _cell(text: str) -> str:
    return re.sub(r"([|<*])", r"\\\1", text)


def _of_default(key: Key) -> str:
    return key.default if key.default == "required" else f"default {key.default}"


def _meanings(schema: type[Any]) -> dict[str, str]:
    """By name, what the docstrings of a class and of those it extends say under "Attributes:"."""
    found: dict[str, str] = {}
    for each in reversed(schema.__mro__):
        _, _, attributes = (getdoc(each) or "").partition("Attributes:\n")
        block = re.split(r"\n(?=\S)", attributes)[0] if attributes.startswith("    ") else ""
        for entry in re.split(r"\n(?=    \S)", block):
            names, _, text = entry.strip().partition(":")
            meaning = re.sub(r"\bNone\b", "null", " ".join(text.split()))  # as a configuration writes it
            found |= {name.strip(): meaning for name in names.split(",")}
    return found


def _in_words(hint: Any) -> str:
    """A type in words: "integer or null", "list of number", or the choices."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        checks = (getattr(extra, "func", None) for extra in parts[1:])
        choices = [choice for check in checks for choice in getattr(check, "choices", ())]
        return " | ".join(choices) or _in_words(parts[0])
    if origin is Literal:
        return " | ".join(map(str, parts))
    if origin in (Union, UnionType):
        return " or ".join(_in_words(part) for part in parts)
    if origin is dict:
        return f"mapping of {_in_words(parts[0])}s to {_in_words(parts[1])}s"
    if origin is tuple:
        return f"list of {_in_words(parts[0])}s"
    return NAMES.get(hint, getattr(hint, "__name__", str(hint)))


def _yaml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
