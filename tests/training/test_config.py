"""Typed configuration: what is accepted, what is refused, and what the messages say."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from foundation.errors import UserError
from training.config import complete_config, differences, dump_config, load_config, parse_config
from training.optim import OptimConfig


@dataclass(frozen=True)
class Sizes:
    side: int = 224
    ratios: tuple[float, ...] = (0.5, 1.0)
    weights: str | None = None
    limits: tuple[int, int] | None = None


@dataclass(frozen=True)
class Schema:
    name: str
    sizes: Sizes = field(default_factory=Sizes)
    optim: OptimConfig = field(default_factory=OptimConfig)

    command = "tools/paint.py"


def load(tmp_path: Path, text: str, *overrides: str) -> Schema:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_config(Schema, path, overrides)


def test_values_defaults_and_overrides(tmp_path: Path):
    config = load(tmp_path, "name: a\noptim: {lr: 1e-4}\n", "sizes.ratios=[1, 2.5]", "sizes.weights=null")
    assert config == Schema("a", Sizes(ratios=(1.0, 2.5)), OptimConfig(lr=1e-4))


def test_no_is_a_word_and_numbers_are_decimal(tmp_path: Path):
    assert load(tmp_path, "name: no\nsizes: {side: 010}\n") == Schema("no", Sizes(side=10))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", "optim.lrr: unknown key; did you mean 'optim.lr'?"),
        ("sizes.lr=1", "sizes.lr: unknown key; did you mean 'optim.lr'?"),  # misplaced
        ("lr=1", "lr: unknown key; did you mean 'optim.lr'?"),
        ("optm.lr=1", "optm: unknown key; did you mean 'optim'?"),
        ("sizes.side=big", "sizes.side: expected a valid integer, got 'big'"),
        ("sizes.side=1.5", "sizes.side: expected a valid integer"),
        ("sizes.side='12'", "sizes.side: expected a valid integer, got '12'"),
        ("sizes.weights=3", "sizes.weights: expected a valid string, got 3"),
        ("sizes.ratios=[x]", "sizes.ratios: expected a valid number, got 'x'"),
        ("sizes.limits=[256]", "sizes.limits: value 2 is missing, and there is no default"),
        ("sizes.limits=[1, 2, 3]", "sizes.limits: expected 2 values, got [1, 2, 3]"),
        ("sizes=3", "sizes: expected a section with keys, got 3"),
        ("name=null", "name: expected a valid string, got None"),
        ("optim.batch_size=0", "optim: batch_size must be positive, got 0"),
        ("optim.lr=-1", "optim: lr must be positive, got -1"),
        ("optim.lr=.nan", "lr"),
        ("optim.momentum=2", "optim: momentum must be from 0 to 1, got 2"),
        ("optim.weight_decay=-1", "optim: weight_decay must be at least 0, got -1"),
        ("optim.lr", "'optim.lr' is not an override: expected section.key=value"),
        ("name.x=1", "'name' is a value, not a section"),
        ("optim.lr=[", "expected a YAML value, got '['"),
    ],
)
def test_refused(tmp_path: Path, override: str, message: str):
    with pytest.raises(UserError) as refused:
        load(tmp_path, "name: a\n", override)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) < 6


def test_every_problem_is_listed_at_once(tmp_path: Path):
    with pytest.raises(UserError) as refused:
        load(tmp_path, "sizes: {sid: 1}\noptim: {lr: fast}\n")
    text = str(refused.value)
    assert text.startswith(str(tmp_path / "config.yaml"))
    assert "name: missing" in text and "sizes.sid: unknown key" in text and "optim.lr: expected" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n", "must hold sections and keys"),
        ("a: [", "is damaged or of another kind"),
        ("a: !!python/name:os.system", "is damaged or of another kind"),
        ("a: !!set {b}", "is damaged or of another kind"),
        ("a: &a [*a]", "is damaged or of another kind"),
        ("a: " + "9" * 5000, "is damaged or of another kind"),
        ("a: " + "[" * 5000, "too many levels of lists and mappings"),
        ("a: " + "9" * 400, "a is 99999999999999999999… of 400 digits, expected at most 9.2e18"),
        ("a: [1, -9223372036854775809]", "expected at most 9.2e18"),
        ('a: "x\\0"', "a is 'x\\\\x00', expected a text without a NUL"),
        ("name: a\nname: b\n", "repeated"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, message: str):
    with pytest.raises(UserError, match=message):
        load(tmp_path, text)


def test_a_file_of_another_command_is_answered_with_the_command_that_reads_it(tmp_path: Path):
    # The keys that are near to unknown ones mislead whoever took the wrong file.
    expected = r"config\.yaml, as a configuration of tools/paint\.py:\n  model: unknown"
    with pytest.raises(UserError, match=expected):
        load(tmp_path, "name: a\nmodel: {name: b}\n")


def test_missing_file_says_where(tmp_path: Path):
    with pytest.raises(UserError, match=str(tmp_path / "none.yaml")):
        load_config(Schema, tmp_path / "none.yaml")


def test_dump_reads_back_equal(tmp_path: Path):
    config = Schema("1e5", Sizes(ratios=(1e-5, 2.0), weights="no"), OptimConfig(clip_norm=1.0))
    assert load(tmp_path, dump_config(config)) == config


def test_parsing_sections_leaves_them_alone():
    sections = {"name": "a", "optim": {"lr": 0.5}}
    config = parse_config(Schema, sections, ["optim.lr=2"], source="x.safetensors")
    assert config.optim.lr == 2 and sections["optim"] == {"lr": 0.5}
    with pytest.raises(UserError, match=r"^x\.safetensors:"):
        parse_config(Schema, {}, source="x.safetensors")


def test_differences_name_dotted_keys():
    old = Schema("a")
    new = dataclasses.replace(old, optim=OptimConfig(lr=0.2))
    assert differences(dump_config(old), dump_config(new)) == ["optim.lr: 0.1 before, 0.2 now"]
    assert differences(dump_config(old), dump_config(old)) == []


def test_a_key_that_came_later_is_filled_in_with_its_default():
    config = Schema(name="x")
    before = dump_config(config).replace("  side: 224\n", "")
    assert "side" not in before
    assert complete_config(Schema, before, source="run") == dump_config(config)
    with pytest.raises(UserError, match="run:\n  gone"):
        complete_config(Schema, f"{before}gone: 1\n", source="run")
