"""YAML whose plain scalars mean what YAML 1.2 says, on top of PyYAML, which reads YAML 1.1.

Otherwise `no` is false, `1e-4` is text, `010` is eight and `12:30` is 750. Repeated keys are refused.
"""

import re
from typing import Any

import yaml

from foundation.bounds import UNFOLDED

# YAML 1.2.2, §10.3.2 (core schema), less hexadecimal and octal numbers.
_SCALARS = [
    ("tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
    ("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"]),
]


_DIGITS = 600  # of a whole number: Python refuses more than 4,300, and JSON's readers more than a double has

_LEVELS = 100  # of lists and mappings in brackets


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        # The scanner looks through all open brackets at each character.
        if self.flow_level >= _LEVELS:
            raise yaml.MarkedYAMLError(None, None, "too many levels of lists and mappings", self.get_mark())
        super().fetch_flow_collection_start(token_class)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here and not while constructing: by then "<<" may have put a second, overridden key into the node.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"key {key.value!r} is repeated", key.start_mark)
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers: dict[str, Any] = {}


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_tag, _pattern, _first)
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)


def _decimal(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    if len(text) > _DIGITS:
        raise yaml.MarkedYAMLError(None, None, f"a number of {len(text)} digits", node.start_mark)
    return int(text)  # 010 is ten


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    # Unicode's own line breaks would be folded to spaces; double quotes escape them.
    style = '"' if set(value) & set("\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Loader.add_constructor("tag:yaml.org,2002:int", _decimal)
_Dumper.add_representer(str, _text)


def read_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: not YAML, a key is repeated, or aliases stand for too many values (see
            `foundation.bounds`); the text says where.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.YAMLError("too many levels of lists and mappings") from error
    finally:
        loader.dispose()


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values that a node stands for, its aliases written out; each node is visited once, by its id."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 0
        parts = (
            [part for pair in node.value for part in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        known[id(node)] = 1 + sum(_count(part, known) for part in parts)
    if known[id(node)] == 0:
        raise yaml.MarkedYAMLError(None, None, "an alias stands for what it is part of", node.start_mark)
    if known[id(node)] > UNFOLDED:
        text = f"with its aliases written out this holds more than {UNFOLDED:,} values"
        raise yaml.MarkedYAMLError(None, None, text, node.start_mark)
    return known[id(node)]


def write_yaml(data: Any) -> str:
    """YAML text that `read_yaml` reads back equal; keys keep their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True)
