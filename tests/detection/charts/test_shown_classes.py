"""Which classes a chart names."""

from detection.charts.shown_classes import class_label, shown_classes


def test_a_few_are_all_named_the_best_first():
    assert shown_classes([0.2, 0.9, 0.5], [1, 1, 1]) == [1, 2, 0]
    assert shown_classes([], []) == []
    assert len(shown_classes([0.5] * 10, [1] * 10)) == 10


def test_of_many_the_best_the_worst_and_the_commonest():
    values = [number / 100 for number in range(80)]
    objects = [5] * 80
    for number in (30, 40, 50, 60):
        objects[number] = 1000 + number
    objects[79] = objects[0] = 9999  # named already
    assert shown_classes(values, objects) == [79, 78, 77, 60, 50, 40, 30, 2, 1, 0]


def test_labels_of_long_names_are_cut():
    assert class_label("a" * 24) == "a" * 24
    assert class_label("a" * 25) == "a" * 23 + "…"
    assert class_label("$x$") == r"\$x\$"
