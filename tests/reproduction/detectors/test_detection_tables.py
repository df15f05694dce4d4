"""The paper's numbers of detectors, typed a second time, and their ties to our configurations."""

import pytest

from reproduction.detectors.detection_tables import DETECTION_TABLES, ILSVRC_TEST, TEST_DEV, DetectionRow
from reproduction.runs import CONFIGS

ROWS = [(number, row) for number, table in DETECTION_TABLES.items() for row in table.rows]


def numbers(table: str, column: str | None = None) -> dict[str, tuple[float, ...]]:
    """The numbers of each row that has some: of its own split, or of another column."""
    found = {
        row.key: row.scores if column is None else row.elsewhere.get(column, {})
        for row in DETECTION_TABLES[table].rows
    }
    return {key: tuple(one.value for one in scores.values()) for key, scores in found.items() if scores}


def test_table_7():
    assert numbers("7") == {"vgg16": (73.2,), "resnet101": (76.4,)}
    assert numbers("7", "VOC 2012 test, trained on 07++12") == {"vgg16": (70.4,), "resnet101": (73.8,)}


def test_table_8():
    assert numbers("8") == {"vgg16": (41.5, 21.2), "resnet101": (48.4, 27.2)}


def test_table_9():
    assert numbers("9") == {
        "vgg16": (41.5, 21.2),
        "baseline": (48.4, 27.2),
        "refinement": (49.9, 29.9),
        "context": (51.1, 30.0),
        "multi-scale": (53.8, 32.5),
    }
    assert numbers("9", TEST_DEV) == {
        "context": (53.3, 32.2),
        "multi-scale": (55.7, 34.9),
        "ensemble": (59.0, 37.4),
    }


def test_tables_10_and_11():
    assert numbers("10") == {"vgg16": (73.2,), "baseline": (76.4,), "baseline+++": (85.6,)}
    # The server alone knows the objects of VOC 2012 test: no run of ours has scores to compare.
    assert numbers("11") == {}
    assert numbers("11", "VOC 2012 test") == {
        "vgg16": (70.4,),
        "baseline": (73.8,),
        "baseline+++": (83.8,),
    }


def test_table_12():
    assert numbers("12") == {"single": (60.5,), "ensemble": (63.6,)}
    assert numbers("12", ILSVRC_TEST) == {"single": (58.8,), "ensemble": (62.1,)}
    single, ensemble = DETECTION_TABLES["12"].rows
    best = next(row for row in DETECTION_TABLES["9"].rows if row.key == "multi-scale")
    assert single.overrides == ensemble.overrides == best.overrides
    assert (single.networks, ensemble.networks) == (1, 3)


def test_each_row_of_the_ablation_adds_one_thing_to_the_row_before():
    rows = [row for row in DETECTION_TABLES["9"].rows if row.config == "coco_frcnn_r101"]
    assert [row.key for row in rows] == ["baseline", "refinement", "context", "multi-scale", "ensemble"]
    for before, row in zip(rows, rows[1:], strict=False):
        assert set(before.overrides) <= set(row.overrides)
        added = len(set(row.overrides) - set(before.overrides)) + (row.networks != before.networks)
        assert added == 1, row.key
    assert [row.networks for row in rows] == [1, 1, 1, 1, 3]


@pytest.mark.parametrize(("number", "row"), ROWS, ids=lambda value: getattr(value, "key", value))
def test_rows_have_names_and_configurations(number: str, row: DetectionRow):
    assert [other.key for other in DETECTION_TABLES[number].rows].count(row.key) == 1
    assert (CONFIGS / f"{row.config}.yaml").is_file()
    columns = [row.scores, *row.elsewhere.values()]
    assert any(columns)
    assert all(tuple(column) == DETECTION_TABLES[number].scores for column in columns if column)
