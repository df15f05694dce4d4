"""What is drawn of receptive fields; that files repeat is in test_analysis_figures.py."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from analysis.figures.receptive_figure import block_means, draw_receptive_fields


def arrays(*names: str) -> dict:
    """Of maps of stride 4 in pictures of 32 x 32; the last one sees the whole picture."""
    share = np.zeros((32, 32))
    share[14:19, 14:19] = 1 / 25
    return {
        "features": np.array(names),
        "stride": np.full(len(names), 4),
        "theoretical": np.array([*[11.0] * (len(names) - 1), np.inf]),
        "offset": np.array([*[0.5] * (len(names) - 1), np.nan]),
        "effective": np.full(len(names), 5.0),
        "place": np.full((len(names), 2), 16),
        **{f"gradient/{name}": share for name in names},
    }


def boxes_of(axis) -> list[tuple[float, ...]]:
    found = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    return [(*patch.get_xy(), patch.get_width(), patch.get_height()) for patch in found]


def test_fields_are_squares_around_the_cell_and_anchors_stand_at_it():
    anchors = {"a": {"P2": np.array([[-8.0, -4.0, 8.0, 4.0]])}}
    figure = draw_receptive_fields({"a": arrays("P2", "P3"), "b": arrays("res4")}, anchors)
    axes = np.array(figure.axes).reshape(2, 2)  # panels follow one another
    # The effective field lies where the shares do, with their mean at 16.
    theoretical, effective = (16.5 - 5.5, 16.5 - 5.5, 11, 11), (16 - 2.5, 16 - 2.5, 5, 5)
    assert np.allclose(boxes_of(axes[0, 0]), [theoretical, effective, (8, 12, 16, 8)])
    assert np.allclose(boxes_of(axes[0, 1]), [effective])  # no square is around the whole picture
    titles = [axis.get_title() for axis in axes.flat]
    assert titles == ["a\nP2: 5 of 11", "a\nP3: 5 of all", "b\nres4: 5 of all", ""]
    assert not axes[1, 1].axison  # the second network has one map
    # 1.1 times the anchors, which reach 8 pixels; of the other the whole picture.
    assert axes[0, 0].get_xlim() == pytest.approx((16.5 - 8.8, 16.5 + 8.8))
    assert axes[0, 1].get_xlim() == (-0.5, 31.5)
    assert any("anchors" in text.get_text() for text in figure.findobj(Text))
    without = draw_receptive_fields({"b": arrays("res4")})
    assert not any("anchors" in text.get_text() for text in without.findobj(Text))


def test_long_names_stay_above_their_own_panel():
    figure = draw_receptive_fields({"resnet20_cifar (short/last), untrained": arrays("res3", "res4")})
    figure.draw_without_rendering()
    one, other = (axis.title for axis in figure.axes)
    assert one.get_text() == "resnet20_cifar (short/last),\nuntrained\nres3: 5 of 11"
    assert one.get_window_extent().x1 < other.get_window_extent().x0


def test_means_of_blocks_by_hand():
    values = np.arange(15.0).reshape(3, 5)
    # Of 0 1 5 6, and of 2 3 7 8; the last row and column are left over.
    assert block_means(values, 2).tolist() == [[3.0, 5.0]]
    assert block_means(values, 1).tolist() == values.tolist()
