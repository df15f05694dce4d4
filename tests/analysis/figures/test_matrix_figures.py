"""What matrices show; that all figures are written whole is in test_analysis_figures."""

import numpy as np
import pytest

from analysis.figures.matrix_figures import draw_similarity, draw_surface


def matrix(names, others):
    values = np.linspace(0, 1, len(names) * len(others)).reshape(len(names), len(others))
    arrays = {"layers": np.array(names), "other_layers": np.array(others), "similarity": values}
    return arrays | {"itself": np.array(names == others), "pictures": np.array(1000)}


def surface(loss, classes=3):
    loss = np.array(loss, dtype=float)
    x = np.linspace(-1, 1, loss.shape[1])
    y = x if len(loss) > 1 else np.zeros(1)
    arrays = {"x": x, "y": y, "loss": loss, "error": loss, "classes": np.array(classes)}
    return arrays | {"pictures": np.array(10)}


def panels(figure):
    return {axis.get_title().partition("\n")[0]: axis for axis in figure.axes if axis.get_title()}


def test_layers_of_the_first_network_go_to_the_right_and_of_the_second_up():
    few, more = ["stem", "res2.0"], ["stem", "res2.0", "res2.1"]
    axes = panels(draw_similarity({"a and b": matrix(few, more), "a": matrix(few, few)}))
    (image,) = axes["a and b"].get_images()
    assert image.get_array().shape == (3, 2) and image.origin == "lower"
    assert image.get_array()[0, 1] == pytest.approx(matrix(few, more)["similarity"][1, 0])
    assert [text.get_text() for text in axes["a and b"].get_yticklabels()] == more
    assert axes["a and b"].get_xlabel() and not axes["a"].get_xlabel()


def test_long_titles_are_broken_into_lines_above_their_own_panel():
    label = "resnet20_cifar (short/last) and resnet20_cifar (full/last)"
    figure = draw_similarity(
        {label: matrix(["stem"], ["res2.0"]), f"{label}, untrained": matrix(["a"], ["a"])}
    )
    figure.draw_without_rendering()
    title, other = (axis.title for axis in figure.axes[:2])
    assert title.get_text() == label.replace("and ", "and\n")
    assert title.get_window_extent().x1 < other.get_window_extent().x0


def test_of_many_layers_some_are_named():
    many = [f"res2.{number}" for number in range(55)]
    axis = panels(draw_similarity({"deep": matrix(many, many)}))["deep"]
    assert [text.get_text() for text in axis.get_xticklabels()] == many[::2]
    assert axis.get_xticks().tolist() == list(range(0, 55, 2))


def test_levels_are_equal_for_all_networks_and_chance_is_drawn_where_it_is():
    bowl, flat = surface([[2, 1, 2], [1, 0.5, 1], [2, 1, 2]]), surface(np.full((3, 3), 9.0))
    figure = draw_surface({"bowl": bowl, "flat": flat})
    axes = panels(figure)
    filled = [axis.collections[0].levels for axis in axes.values()]
    assert (filled[0] == filled[1]).all() and filled[0][0] < 0.5 and filled[0][-1] > 9
    assert [len(axis.collections) for axis in axes.values()] == [3, 2]  # filled, lines, and as by chance
    assert "loss 0.50 at the weights, 2 at most" in axes["bowl"].get_title()
    ticks = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert ticks == ["0.5", "1", "2", "5"]


def test_a_line_is_drawn_as_one():
    axes = panels(draw_surface({"a": surface([[3, 1, 0]]), "plain": surface([[2, 1, 2]])}))
    assert list(axes) == ["loss", "error"]
    first, second = axes["loss"].get_lines()
    assert first.get_ydata().tolist() == [3, 1, 1e-6]  # a logarithmic scale has no zero
    assert second.get_linestyle() == "--"
