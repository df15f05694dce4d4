import json
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import UserError
from pictures.run_pictures.run_curves import curves_of, draw_curves, loss_sums, main_scores, read_metrics

ENTRIES = [
    {"step": 1, "loss_a": 2.0, "loss_b": 1.0, "lr": 0.1},
    {"step": 2, "loss_a": 1.0, "loss_b": float("nan"), "lr": 0.2},
    {"step": 2, "val/AP": None, "val/AP50": 0.5},
]


def test_curves_leave_out_what_has_no_value():
    assert curves_of(ENTRIES) == {
        "loss_a": [(1, 2.0), (2, 1.0)],
        "loss_b": [(1, 1.0)],
        "lr": [(1, 0.1), (2, 0.2)],
        "val/AP50": [(2, 0.5)],
    }


def test_the_sum_is_of_all_terms_or_none():
    assert loss_sums(ENTRIES) == [(1, 3.0)]


def test_of_many_scores_the_main_ones_are_drawn():
    names = [f"val/{kind}{name}" for kind in ("", "segm/") for name in ("AP", "AP50", "AP75", "APs", "AR1")]
    assert [*main_scores(dict.fromkeys(names, []))] == [
        *("val/AP", "val/AP50", "val/AP75"),
        *("val/segm/AP", "val/segm/AP50", "val/segm/AP75"),
    ]
    few = {"val/mAP": [], "val/AR1": []}
    assert main_scores(few) == few
    assert len(main_scores({f"val/score {number}": [] for number in range(20)})) == 8


@pytest.mark.parametrize(
    "entries",
    [ENTRIES, [], [{"step": 5, "loss": 1.0, "top1_error": 90.0, "lr": 0.1}], [{"step": 1, "val/$a$_b": 0.5}]],
)
def test_curves_of_any_run_become_a_picture(entries: list, tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves")
    assert Image.open(tmp_path / "curves.png").width > 1000
    before = (tmp_path / "curves.png").read_bytes()
    draw_curves(tmp_path / "metrics.jsonl", tmp_path / "curves")
    assert (tmp_path / "curves.png").read_bytes() == before


def test_a_run_without_reports_has_no_entries(tmp_path: Path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_damaged_lines_are_refused(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    with pytest.raises(UserError, match=r"metrics.jsonl: .*remove the damaged lines"):
        read_metrics(tmp_path / "metrics.jsonl")
