"""What run folders made by hand hold of a row, and what makes a run another recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UserError
from reproduction.published.paper import TABLES
from reproduction.runs import row_config
from reproduction.tables import read_line, recipe_changes, spread

Found = Callable[..., Any]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        # Mean 30; deviations -10, 0, 10: the sample's variance is 200 / 2.
        ([20, 30, 40], "30.0 ± 10.0"),
        ([12.3, 12.3], "12.3 ± 0.0"),
        ([50], "50.0"),
    ],
)
def test_spread(values: list[float], text: str):
    assert spread(values, digits=1) == text


@pytest.mark.parametrize(
    ("override", "comparable"),
    [
        ("run.precision=bf16", True),
        ("run.log_every=7", True),
        ("data.root=elsewhere", True),
        ("run.early_stop=3", False),
        ("optim.lr=0.05", False),
        ("data.train_split=train45k", False),
    ],
)
def test_what_makes_a_run_another_recipe(
    write_run: Found, tmp_path: Path, row_of: Found, override: str, comparable: bool
):
    write_run("resnet20_cifar", overrides=[override], top1_error=9.0)
    line = read_line(row_of("resnet20_cifar"), "last", tmp_path)
    assert (line.changed == []) is comparable


def test_intervals_that_decide_the_rate_belong_to_the_recipe():
    def changes(number: str, key: str, override: str) -> list[str]:
        (row,) = (row for row in TABLES[number].rows if row.key == key)
        return recipe_changes(row_config(row), row_config(row, [override]))

    # Evaluations find the plateaus of ResNet-34's rate, reports the end of ResNet-110's warm-up.
    assert changes("3", "resnet34-A", "run.eval_every=500")
    assert not changes("3", "resnet34-A", "run.log_every=7")
    assert changes("6", "resnet110_cifar", "run.log_every=7")
    assert not changes("6", "resnet110_cifar", "run.eval_every=500")


def test_seeds_of_different_recipes_have_no_mean(write_run: Found, tmp_path: Path, row_of: Found):
    write_run("resnet20_cifar", 0, top1_error=9.0)
    write_run("resnet20_cifar", 1, overrides=["optim.lr=0.05"], top1_error=9.0)
    with pytest.raises(UserError, match=r"optim.lr: 0.1 before, 0.05 now\n.*move one of them"):
        read_line(row_of("resnet20_cifar"), "last", tmp_path)
