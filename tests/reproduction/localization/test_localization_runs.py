"""Which trainings and searches the rows of Tables 13 and 14 need."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from backbones.weights.downloads import digest
from foundation.errors import UserError
from reproduction.localization.localization_runs import Search, describe_plan, is_current, plan_localization
from reproduction.localization.localization_tables import LOCALIZATION_TABLES

ROWS = {row.key: row for row in LOCALIZATION_TABLES["13"].rows}


def names(found: list) -> list[str]:
    return [one.folder.name for one in found]


def test_the_rpn_alone(tmp_path: Path):
    plan = plan_localization([ROWS["rpn-1crop"], ROWS["rpn-dense"]], 2, tmp_path, ["run.device=cpu"])
    assert names(plan.trainings) == ["rpn_seed0", "rpn_seed1"]
    assert [one.config.run.seed for one in plan.trainings] == [0, 1]
    assert names(plan.searches) == [
        "rpn-1crop_seed0",
        "rpn-dense_seed0",
        "rpn-1crop_seed1",
        "rpn-dense_seed1",
    ]
    first, second, *_ = plan.searches
    assert first.overrides == ("run.device=cpu", "testing.protocol=one_crop", "testing.scales=[]")
    assert second.overrides == ("run.device=cpu", "testing.protocol=dense")
    assert first.weights == tmp_path / "rpn_seed0" / "last.safetensors"


def test_rcnn_goes_on_from_the_boxes_of_its_rpn(tmp_path: Path):
    plan = plan_localization([ROWS["rpn-top5"], ROWS["rcnn-top5"], ROWS["ensemble"]], 2, tmp_path, [])
    assert names(plan.trainings) == ["rpn_seed0", "rcnn_seed0", "rpn_seed1", "rcnn_seed1"]
    rcnn = plan.trainings[1].config
    assert (rcnn.step, rcnn.regions.proposals) == ("rcnn", str(tmp_path / "rpn_seed0" / "last.safetensors"))
    searches = {one.folder.name: one for one in plan.searches}
    assert searches["rcnn-top5_seed1"].boxes == (tmp_path / "rpn-top5_seed1" / "boxes.npz",)
    ensemble = plan.searches[-1]
    assert ensemble.weights is None
    assert ensemble.boxes == tuple(tmp_path / f"rcnn-top5_seed{seed}" / "boxes.npz" for seed in (0, 1))


def test_another_configuration_trains_both(tmp_path: Path):
    file = tmp_path / "small.yaml"
    file.write_text("data: {kind: shapes_loc, image_size: 64}\n")
    plan = plan_localization([ROWS["rcnn-top5"]], 1, tmp_path / "out", [], file=file)
    assert [(one.config.step, one.config.data.image_size) for one in plan.trainings] == [
        ("rpn", 64),
        ("rcnn", 64),
    ]


def test_what_the_command_decides_itself(tmp_path: Path):
    with pytest.raises(UserError, match="'run.seed=3': --seeds and --rows choose it; leave it out"):
        plan_localization([ROWS["rpn-dense"]], 1, tmp_path, ["run.seed=3"])
    with pytest.raises(UserError, match="--seeds must be 1 or more, got 0"):
        plan_localization([ROWS["rpn-dense"]], 0, tmp_path, [])


def test_a_search_is_made_again_with_other_weights_or_guesses(tmp_path: Path):
    weights, folder = tmp_path / "w.safetensors", tmp_path / "rpn-top5_seed0"
    weights.write_bytes(b"weights")
    folder.mkdir()
    (folder / "boxes.npz").write_bytes(b"")
    guesses = SimpleNamespace(about={"weights": "classifier"})
    about = {"sha256": digest(weights), "guesses": guesses.about}
    (folder / "result.json").write_text(json.dumps({"scores": {}, "evaluated": about}))
    search = Search(ROWS["rpn-top5"], folder, weights, (), ())
    assert is_current(search, guesses)
    assert not is_current(search, None)
    assert not is_current(search, SimpleNamespace(about={"weights": "another"}))
    weights.write_bytes(b"trained on")
    assert not is_current(search, guesses)
    weights.write_bytes(b"weights")
    (folder / "boxes.npz").unlink()
    assert not is_current(search, guesses)


def test_the_plan_is_told(tmp_path: Path):
    plan = plan_localization([ROWS["rpn-dense"]], 1, tmp_path, [])
    text = describe_plan(plan, None)
    assert "| rpn_seed0 | missing | 90,000 |" in text and "| rpn-dense_seed0 | missing |" in text
