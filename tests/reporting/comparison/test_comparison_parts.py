"""What all comparisons share: pairs, recipes, differences beside the figures."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from classification.config import PretrainConfig
from reporting.comparison.comparison_parts import (
    curves,
    difference_table,
    pair_up,
    paired_differences,
    recipes,
    side_by_side,
)
from training.config import load_config


def run(name: str, *overrides: str, **more: Any) -> Any:
    chosen = ["model.name=resnet18", "data.kind=shapes", "schedule.total_steps=40", *overrides]
    config = load_config(PretrainConfig, None, chosen)
    return SimpleNamespace(**{"name": name, "config": config, "entries": ()} | more)


def test_of_many_each_is_compared_with_the_first():
    many = [run(f"r{number}") for number in range(8)]
    pairs, notes = pair_up(many, lambda first, second: "no" if second.name == "r3" else "")
    assert [(first.name, second.name) for first, second in pairs] == [
        ("r0", f"r{number}") for number in (1, 2, 4, 5, 6, 7)
    ]
    assert [note.text for note in notes] == ["r0 and r3 are not compared: no."] and notes[0].warning
    pairs, _ = pair_up(many[:3], lambda first, second: "")
    assert [first.name + second.name for first, second in pairs] == ["r0r1", "r0r2", "r1r2"]


def test_the_difference_stands_behind_the_main_figure(rows: Callable):
    three = [run(name) for name in "ABC"]
    columns = {"metric": ["x", "x", "y"], "AP": ["1", "2", "3"], "loss": ["7", "8", "9"]}
    section = side_by_side(
        three, columns, "AP", [40.0, None, 42.5], lambda first, second: "other" * (second.name == "C")
    )
    table = section.parts[0]
    assert list(table.heading) == ["run", "metric", "AP", "less A, points", "loss"]
    assert table.text == [0, 1]
    assert rows([section], "Side by side") == [
        ["A", "x", "1", "", "7"],
        ["B", "x", "2", "–", "8"],
        ["C", "y", "3", "", "9"],
    ]


def test_recipes_leave_out_what_does_not_matter(rows: Callable):
    one, other = run("A", "run.workers=1"), run("B", "run.workers=2", "optim.nesterov=true")
    assert rows(recipes([one, other]), "What differs") == [["optim.nesterov", "false", "true"]]
    assert recipes([one, run("C", config=None)]) == []


def test_differences_are_marked_where_they_are_clear():
    found = [("a", 0.1, 0.05, 0.2), ("b", -0.1, -0.2, 0.01), ("c", 0.0, None, None)]
    table = difference_table(["pair", "points"], found)
    assert [list(row[:3]) for row in table.rows] == [
        ["a", "+10.0 (+5.0 to +20.0)", "*"],
        ["b", "−10.0 (−20.0 to +1.0)", ""],
        ["c", "+0.0", ""],
    ]
    assert table.heading[-1] == "−20.0 to 20.0"


def test_nothing_to_show():
    assert paired_differences([], []).parts == []
    assert curves([run("A"), run("B")], "top1_error") == []
