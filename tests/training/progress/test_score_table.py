"""Scores in a table: per cent, changes, the best, and groups in columns."""

from training.progress.score_table import score_table


def test_the_first_evaluation():
    assert score_table({"AP": 0.123456, "AP50": 0.5, "APs": None}, per_cent=True).splitlines() == [
        "  in %      now",
        "  AP      12.35",
        "  AP50    50.00",
        "  APs         -",
    ]


def test_changes_and_the_best_so_far():
    table = score_table(
        {"AP": 0.12, "APs": 0.1}, per_cent=True, before={"AP": 0.10, "APs": None}, best={"AP": 0.13}
    )
    assert table.splitlines() == [
        "  in %      now   change     best",
        "  AP      12.00    +2.00    13.00",
        "  APs     10.00        -        -",
    ]


def test_masks_stand_beside_boxes():
    table = score_table({"AP": 0.1, "segm/AP": 0.2}, per_cent=True, before={"AP": 0.2, "segm/AP": 0.1})
    assert table.splitlines() == [
        "  in %      now   change     segm   change",
        "  AP      10.00   -10.00    20.00   +10.00",
    ]


def test_scores_that_are_no_fractions_stay_as_they_are():
    table = score_table({"top1_error": 71.25, "loss": 2.08765}, per_cent=False, before={"loss": 3.0})
    assert table.splitlines() == [
        "                  now   change",
        "  top1_error    71.25        -",
        "  loss          2.088  -0.9123",
    ]


def test_no_scores():
    assert score_table({}, per_cent=True) == "  in %"
