"""Rows of a table: what they are called and how their numbers are printed."""

import pytest

from reproduction.published.paper import TABLES
from reproduction.published.table_rows import Printed, Row


def test_what_is_printed():
    (row,) = [row for row in TABLES["6"].rows if row.label == "ResNet-110"]
    assert str(row.scores["top1_error"]) == "6.61 ± 0.16 (best 6.43)"
    assert str(Printed(8.8)) == "8.80"


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (Row("plain-20", {}, "plain20_cifar"), "plain20_cifar"),
        (Row("ResNet-34 A", {}, "resnet34", "A"), "resnet34-A"),
        (Row("Maxout", {"top1_error": Printed(9.38)}), "Maxout"),
    ],
)
def test_keys(row: Row, key: str):
    assert row.key == key
