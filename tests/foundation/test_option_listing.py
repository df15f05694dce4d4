"""Keys of a small configuration with every kind of type."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from foundation.errors import UserError
from foundation.option_listing import Key, configuration_page, describe_keys, list_keys, select_keys


@dataclass(frozen=True)
class Optim:
    """How weights change.

    Attributes:
        lr: learning rate
            per batch.
        betas, gammas: of Adam: two factors.
    """

    lr: float = 1e-4
    betas: tuple[float, ...] = (0.9, 0.5)
    gammas: tuple[int, ...] | None = None


@dataclass(frozen=True)
class LargeOptim(Optim):
    """As `Optim`.

    Attributes:
        steps: how many.

    Not a key: this paragraph.
    """

    steps: int = 3


@dataclass(frozen=True)
class Config:
    kind: Literal["a", "b|c"]
    optim: LargeOptim = field(default_factory=lambda: LargeOptim(lr=0.5))
    on: bool = False


def test_types_defaults_and_meanings():
    assert list_keys(Config) == [
        Key("kind", "a | b|c", "required", ""),
        Key("optim.lr", "number", "0.5", "learning rate per batch."),
        Key("optim.betas", "list of numbers", "[0.9, 0.5]", "of Adam: two factors."),
        Key("optim.gammas", "list of integers or null", "null", "of Adam: two factors."),
        Key("optim.steps", "integer", "3", "how many."),
        Key("on", "true | false", "false", ""),
    ]


def test_a_mapping_in_words():
    @dataclass(frozen=True)
    class Named:
        names: dict[str, int] | None = None

    assert list_keys(Named) == [Key("names", "mapping of texts to integers or null", "null", "")]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["kind", "optim.lr", "optim.betas", "optim.gammas", "optim.steps", "on"]),
        ("mas", ["optim.gammas"]),  # a part of a name
        ("optim.?r", ["optim.lr"]),
        ("*", ["kind", "optim.lr", "optim.betas", "optim.gammas", "optim.steps", "on"]),
    ],
)
def test_patterns_and_parts_of_names(pattern: str, names: list[str]):
    assert [key.name for key in select_keys(list_keys(Config), pattern)] == names


@pytest.mark.parametrize(("pattern", "closest"), [("optim.step_", "optim.steps"), ("betass", "betas")])
def test_an_unknown_pattern_names_the_closest_key(pattern: str, closest: str):
    with pytest.raises(UserError, match=f"no key fits '{pattern}'; did you mean '{closest}'"):
        select_keys(list_keys(Config), pattern)


def test_in_lines():
    assert describe_keys(Config, "lr") == "optim.lr  (number; default 0.5)\n    learning rate per batch."
    assert describe_keys(Config, "kind") == "kind  (a | b|c; required)"


def test_as_tables():
    """A bar within a cell would end it."""
    page = configuration_page({"Small": Config})
    head = "| key | type | default | meaning |\n|---|---|---|---|\n"
    assert (
        f"## Small\n\n### Small: without a section\n\n{head}| `kind` | a \\| b\\|c | `required` |  |\n"
        in page
    )
    assert f"### Small: `optim`\n\n{head}| `optim.lr` | number | `0.5` | learning rate per batch. |\n" in page
