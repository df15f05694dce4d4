"""Learning curves and the degradation figure: the lines that are drawn, not their pixels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from reproduction import figures as module
from reproduction.figures import draw_curves, draw_degradation
from reproduction.published.paper import FIGURES, TABLES
from reproduction.tables import Line, read_line

Found = Callable[..., Any]
SHORT = ["schedule.total_steps=40", "schedule.milestones=[20,30]", "run.log_every=10"]


def metrics(*errors: float, last: float) -> list[dict]:
    """A report of training error every ten steps, an evaluation at 20 and at the end."""
    reports = [{"step": 10 * n, "loss": 1.0, "top1_error": e, "lr": 0.1} for n, e in enumerate(errors, 1)]
    end = reports[-1]["step"]
    return [*reports, {"step": 20, "val/top1_error": 60.0}, {"step": end, "val/top1_error": last}]


def lines(out: Path) -> list[Line]:
    return [read_line(row, "last", out) for row in TABLES["6"].rows]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that would be saved; they are saved too."""
    kept: list[Any] = []
    save = module.save_plot
    monkeypatch.setattr(module, "save_plot", lambda picture, *to: (kept.append(picture), save(picture, *to)))
    return kept


def strokes(axis: Any) -> list[tuple[str, list[float], list[float]]]:
    """(style, x, y) of every line with points."""
    return [
        (line.get_linestyle(), *(list(map(float, v)) for v in line.get_data()))
        for line in axis.get_lines()
        if len(line.get_xdata())
    ]


def test_learning_curves(write_run: Found, tmp_path: Path, drawn: list):
    write_run("plain20_cifar", 0, overrides=SHORT, metrics=metrics(90, 80, 70, 60, last=50), top1_error=50)
    write_run("resnet20_cifar", 0, overrides=SHORT, metrics=metrics(80, 70, 60, 40, last=30), top1_error=30)
    write_run("resnet20_cifar", 1, overrides=SHORT, metrics=metrics(80, 60, 50, 30, last=20), top1_error=20)
    write_run("resnet32_cifar", 0, overrides=SHORT, metrics=metrics(1, 1, last=1))  # under way
    caption = draw_curves(FIGURES["6"], lines(tmp_path), tmp_path / "figure6.png")
    (picture,) = drawn
    plain, residual = picture.axes
    # A window of a fortieth is one step, so every report is one; it is drawn at its middle.
    middles = [5, 15, 25, 35]
    assert strokes(plain) == [("--", middles, [90, 80, 70, 60]), ("-", [20, 40], [60, 50])]
    assert strokes(residual) == [("--", middles, [80, 65, 55, 35]), ("-", [20, 40], [60, 25])]
    low, high = residual.collections[1].get_paths()[0].get_extents().get_points()[:, 1]
    assert (low, high) == (20, 60), "the band of the test error"
    labels = [text.get_text() for text in residual.get_legend().get_texts()]
    assert labels == ["ResNet-20 (n = 2)", "training error", "test error"]
    colours = [axis.get_lines()[0].get_color() for axis in (plain, residual)]
    assert colours[0] == colours[1], "one colour a depth"
    assert plain.get_xlabel() == "iterations" and plain.get_ylabel() == "error, %"
    assert (
        caption is not None
        and "recipe: `schedule.total_steps` 40 instead of 64000, `schedule" in caption
        and "at least 1 steps" in caption
    )
    assert Image.open(tmp_path / "figure6.png").size[0] > 800


def test_a_whole_run_has_the_papers_axis_and_old_runs_no_training_curve(
    write_run: Found, tmp_path: Path, drawn: list
):
    write_run("resnet110_cifar", metrics=[{"step": 64_000, "val/top1_error": 6.5}], top1_error=6.5)
    caption = draw_curves(FIGURES["6"], lines(tmp_path), tmp_path / "figure6.png")
    (axis,) = drawn[0].axes  # its second panel would repeat it
    assert axis.get_ylim() == (0, 20)
    assert strokes(axis) == [("-", [6.4], [6.5])] and axis.get_xlabel() == "iterations (1e4)"
    assert caption is not None and "Dashed" not in caption and "recipe" not in caption


def test_the_panel_of_1202_layers(write_run: Found, tmp_path: Path, drawn: list):
    for key in ("resnet110_cifar", "resnet1202_cifar"):
        write_run(key, metrics=[{"step": 64_000, "val/top1_error": 7.0}], top1_error=7.0)
    draw_curves(FIGURES["6"], lines(tmp_path), tmp_path / "figure6.png")
    assert [axis.get_title() for axis in drawn[0].axes] == ["residual", "110 and 1202 layers"]
    assert [len(strokes(axis)) for axis in drawn[0].axes] == [1, 2]


def test_degradation(write_run: Found, tmp_path: Path, drawn: list):
    errors = {"plain20_cifar": 12.0, "plain56_cifar": 14.0, "resnet56_cifar": 7.0}
    for key, error in errors.items():
        reports = [{"step": 64_000, "top1_error": error / 2}]
        write_run(key, metrics=reports, top1_error=error)
    write_run("resnet20_cifar", 0, top1_error=8.0)
    write_run("resnet20_cifar", 1, top1_error=9.0)
    caption = draw_degradation(lines(tmp_path), tmp_path / "degradation.png")
    (axis,) = drawn[0].axes
    found = {bars.get_label(): [list(map(float, v)) for v in bars[0].get_data()] for bars in axis.containers}
    assert found == {
        "plain, training": [[20, 56], [6, 7]],
        "plain, test": [[20, 56], [12, 14]],
        "ResNet, training": [[56], [3.5]],  # the others are of an earlier release
        "ResNet, test": [[20, 56], [8.5, 7]],
    }
    assert [text.get_text() for text in axis.get_xticklabels()] == ["20", "56"]
    assert caption is not None and "recipe" not in caption
    assert (tmp_path / "degradation.png").stat().st_size > 1000


def test_nothing_to_draw(tmp_path: Path):
    assert draw_curves(FIGURES["6"], lines(tmp_path), tmp_path / "a.png") is None
    assert draw_degradation(lines(tmp_path), tmp_path / "b.png") is None
    assert not list(tmp_path.iterdir())
