"""What is drawn of heat maps; that files repeat is in test_analysis_figures.py."""

import numpy as np

from analysis.figures.heat_figure import _as_grey, draw_heat_maps


def arrays(label: int) -> dict:
    shape = 2, 8, 8
    return {
        "images": np.zeros((*shape, 3), dtype=np.uint8),
        "grad_cam": np.ones(shape),
        "guided": np.ones((*shape, 3)),
        "guided_grad_cam": np.zeros((*shape, 3)),
        "labels": np.array([label, label]),
        "targets": np.array([1, 0]),
        "scores": np.array([0.75, 0.5]),
        "classes": np.array(["cat", "$dog"]),
    }


def test_each_picture_has_a_row_and_each_network_three_panels():
    figure = draw_heat_maps({"a": arrays(0), "b": arrays(0)})
    axes = np.array(figure.axes).reshape(2, 7)
    assert [axis.get_title() for axis in axes[0]] == ["cat", r"\$dog 0.75", "", "", r"\$dog 0.75", "", ""]
    assert [axis.get_xlabel() for axis in axes[1]] == ["", "", "a", "", "", "b", ""]
    assert axes[0, 1].images[0].get_array().max() > 0 and axes[0, 0].images[0].get_array().max() == 0
    unknown = draw_heat_maps({"a": arrays(-1)})
    assert unknown.axes[0].get_title() == ""


def test_no_gradient_is_grey():
    assert (_as_grey(np.zeros((4, 4, 3))) == 0.5).all()
    values = _as_grey(np.linspace(-1, 1, 48).reshape(4, 4, 3))
    assert values.min() == 0 and values.max() == 1 and 0.45 < np.median(values) < 0.55
