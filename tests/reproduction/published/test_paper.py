"""The paper's numbers, typed a second time, and their ties to our networks and configurations."""

import pytest
import torch

from backbones import create_model
from backbones.complexity import count_parameters
from backbones.families import is_model
from reproduction.published.paper import ERRORS, FIGURES, TABLES
from reproduction.published.table_rows import Row
from reproduction.runs import row_config

OURS = [(number, row) for number, table in TABLES.items() for row in table.rows if row.config]


def numbers(table: str) -> dict[str, tuple[float, ...]]:
    return {row.label: tuple(printed.value for printed in row.scores.values()) for row in TABLES[table].rows}


def test_table_2():
    expected = {"plain-18": 27.94, "ResNet-18 A": 27.88, "plain-34": 28.54, "ResNet-34 A": 25.03}
    assert numbers("2") == {label: (value,) for label, value in expected.items()}


def test_table_3():
    assert numbers("3") == {
        "VGG-16": (28.07, 9.33),
        "GoogLeNet": (9.15,),
        "PReLU-net": (24.27, 7.38),
        "plain-34": (28.54, 10.02),
        "ResNet-34 A": (25.03, 7.76),
        "ResNet-34 B": (24.52, 7.46),
        "ResNet-34 C": (24.19, 7.40),
        "ResNet-50": (22.85, 6.71),
        "ResNet-101": (21.75, 6.05),
        "ResNet-152": (21.43, 5.71),
    }
    assert list(TABLES["3"].rows[1].scores) == ["top5_error"]


def test_table_4():
    residual = {label: value for label, value in numbers("4").items() if label.startswith("ResNet")}
    assert residual == {
        "ResNet-34 B": (21.84, 5.71),
        "ResNet-34 C": (21.53, 5.60),
        "ResNet-50": (20.74, 5.25),
        "ResNet-101": (19.87, 4.60),
        "ResNet-152": (19.38, 4.49),
    }


def test_table_5():
    assert numbers("5")["ResNet (ILSVRC'15)"] == (3.57,)
    assert TABLES["5"].protocol is None and not [row for row in TABLES["5"].rows if row.config]


def test_table_6():
    values = numbers("6")
    assert [values[f"ResNet-{depth}"][0] for depth in (20, 32, 44, 56, 110, 1202)] == [
        *(8.75, 7.51, 7.17, 6.97, 6.61, 7.93)
    ]
    others = ["Maxout", "NIN", "DSN", "FitNet, 19 layers", "Highway, 19 layers", "Highway, 32 layers"]
    assert [values[label][0] for label in others] == [9.38, 8.81, 8.22, 8.39, 7.72, 8.80]
    assert all(values[f"plain-{depth}"] == () for depth in (20, 32, 44, 56, 110))


COUNTED = [row for _, row in OURS if row.parameters and row.network != "resnet1202_cifar"]  # slow to build


@pytest.mark.parametrize("row", COUNTED, ids=lambda row: row.key)
def test_parameters_are_the_papers(row: Row):
    with torch.device("meta"):
        count = count_parameters(create_model(str(row.network))) / 1e6
    # Two or three digits are printed; 0.655 and 1.73 million appear as 0.66 and 1.7.
    assert count == pytest.approx(row.parameters, rel=0.025)


@pytest.mark.parametrize(("number", "row"), OURS, ids=lambda value: getattr(value, "key", value))
def test_a_row_is_trained_by_a_configuration_of_its_network(number: str, row: Row):
    config = row_config(row)
    assert config.model.name == row.network and is_model(row.network)
    assert config.data.kind == ("folder" if number in "234" else "cifar10")
    if row.option in ("A", "B", "C"):
        with torch.device("meta"):
            model = create_model(config.model.name, shortcut=config.model.shortcut)
            expected = create_model(config.model.name, shortcut=row.option)
        assert model.state_dict().keys() == expected.state_dict().keys()


def test_rows_of_equal_keys_are_one_run():
    runs: dict[str, set[object]] = {}
    for _, row in OURS:
        runs.setdefault(row.key, set()).add((row.network, row.option, row.config, row.settings))
    assert all(len(same) == 1 for same in runs.values())
    assert {"resnet34-A", "resnet34-B", "resnet34-C", "resnet20_cifar"} <= runs.keys()


def test_figures_show_rows_of_their_tables():
    for figure in FIGURES.values():
        keys = {row.key for row in TABLES[figure.table].rows if row.config}
        assert keys.issuperset(key for _, panel in figure.panels for key in panel)


def test_one_error_a_network():
    assert ERRORS["resnet34"].value == 24.52 and ERRORS["resnet34"].protocol.endswith("option B")
    assert ERRORS["resnet18"] == (27.88, "He et al. 2015, Table 2", "ImageNet val, 10 crops, option A")
    assert ERRORS["plain34"] == (28.54, "He et al. 2015, Table 2", "ImageNet val, 10 crops")
    assert ERRORS["resnet110_cifar"].value == 6.43 and "6.61 ± 0.16" in ERRORS["resnet110_cifar"].protocol
    assert "plain20_cifar" not in ERRORS  # a figure has no numbers
