"""What the rows of Table 9 need: trainings that rows share, and the evaluations of each; nothing is run."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from foundation.errors import UserError
from reproduction.detectors.table_plan import Plan, describe_plan, plan_rows, select_rows
from training.config import dump_config

ABLATION = ["baseline", "refinement", "context", "multi-scale", "ensemble"]


def planned(
    names: Sequence[str], out: Path, seeds: int = 1, overrides: Sequence[str] = (), file: Path | None = None
) -> Plan:
    return plan_rows(select_rows("9", names), seeds, out, overrides, file=file)


def test_rows_share_trainings(tmp_path: Path):
    plan = planned(ABLATION, tmp_path, seeds=4)
    assert [training.folder.name for training in plan.trainings] == [
        f"coco_frcnn_r101{context}_seed{seed}" for seed in range(4) for context in ("", "_context")
    ]
    assert [training.config.run.seed for training in plan.trainings[::2]] == [0, 1, 2, 3]
    assert not any(training.resume or training.overwrite for training in plan.trainings)
    found = {e.folder.name: [folder.name for folder in e.networks] for e in plan.evaluations}
    assert list(found) == [*(f"{key}_seed{n}" for key in ABLATION[:-1] for n in range(4)), "ensemble_seed0"]
    assert found["baseline_seed2"] == found["refinement_seed2"] == ["coco_frcnn_r101_seed2"]
    assert found["context_seed3"] == found["multi-scale_seed3"] == ["coco_frcnn_r101_context_seed3"]
    # Three of the four seeds answer together; a second such ensemble would need six.
    assert found["ensemble_seed0"] == [f"coco_frcnn_r101_context_seed{n}" for n in range(3)]
    weights = [str(file.relative_to(tmp_path)) for file in plan.evaluations[0].weights]
    assert weights == ["coco_frcnn_r101_seed0/last.safetensors"]


def test_one_network_and_three_of_table_12(tmp_path: Path):
    plan = plan_rows(select_rows("12", []), 3, tmp_path, [])
    names = [f"imagenet_det_frcnn_r101_context_seed{seed}" for seed in range(3)]
    assert [training.folder.name for training in plan.trainings] == names
    found = {e.folder.name: [folder.name for folder in e.networks] for e in plan.evaluations}
    assert found == {**{f"single_seed{n}": [names[n]] for n in range(3)}, "ensemble_seed0": names}
    assert all("testing.refine=1" in evaluation.overrides for evaluation in plan.evaluations)


def test_an_evaluation_changes_what_belongs_to_scoring(tmp_path: Path):
    overrides = ["optim.lr=0.5", "data.root=here", "run.device=cpu", "testing.scales=[32, 64]"]
    plan = planned(["context", "multi-scale"], tmp_path, overrides=overrides)
    context, several = (evaluation.overrides for evaluation in plan.evaluations)
    assert context == ["data.root=here", "run.device=cpu", "testing.refine=1"]
    assert several == [*context, "testing.scales=[32, 64]"]
    (training,) = plan.trainings
    assert training.config.optim.lr == 0.5 and training.config.detector.context


def test_what_is_there_goes_on_or_is_complete(tmp_path: Path, tiny_config: Path):
    plan = planned(ABLATION[:3], tmp_path / "out", file=tiny_config)
    names = [training.folder.name for training in plan.trainings]
    assert names == ["tiny_seed0", "tiny_context_seed0"]
    for training in plan.trainings:
        training.folder.mkdir(parents=True)
        (training.folder / "config.yaml").write_text(dump_config(training.config))
    (plan.trainings[1].folder / "result.json").write_text(json.dumps({}))
    again = planned(ABLATION[:3], tmp_path / "out", file=tiny_config)
    assert [training.resume for training in again.trainings] == [True, True]
    text = describe_plan(again)
    assert "| tiny_seed0 | begun | 2 |" in text and "| tiny_context_seed0 | complete | 2 |" in text
    assert "| refinement_seed0 | missing | tiny_seed0 |" in text
    assert "2 trainings: 1 complete, 1 to be resumed, 0 missing. 3 evaluations: 0 complete, 3 mi" in text
    with pytest.raises(UserError, match=r"tiny_seed0 was made with another .*\n  optim.lr: 0.001 before"):
        planned(["baseline"], tmp_path / "out", overrides=["optim.lr=0.5"], file=tiny_config)


def test_lengths_in_epochs_are_counted_on_the_set(tmp_path: Path, tiny_config: Path):
    plan = planned(["baseline"], tmp_path, overrides=["schedule.epochs=3"], file=tiny_config)
    assert plan.trainings[0].config.schedule.total_steps == 3  # two pictures, two a step


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["baselin"], {}, "no row is called 'baselin'; did you mean 'baseline'"),
        (["baseline"], {"seeds": 0}, "--seeds must be 1 or more, got 0"),
        (["ensemble"], {"seeds": 2}, "row ensemble needs 3 trainings that differ in the seed, got --seeds 2"),
        (["baseline"], {"overrides": ["run.seed=3"]}, "'run.seed=3': --seeds chooses the seeds"),
        (["baseline"], {"overrides": ["optim.lrr=3"]}, "optim.lrr: unknown key"),
        (
            ["vgg16", "baseline"],
            {"file": "tiny"},
            "rows vgg16 and baseline are the same .* --config",
        ),
        (
            ABLATION[:2],
            {"overrides": ["testing.refine=0"]},
            "are the same detector with testing.refine=0",
        ),
    ],
)
def test_what_cannot_be_planned(
    names: list[str], options: dict, message: str, tmp_path: Path, tiny_config: Path
):
    options = options | ({"file": tiny_config} if "file" in options else {})
    with pytest.raises(UserError, match=message):
        planned(names, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_tables_of_which_nothing_can_be_scored():
    assert [row.key for row in select_rows("10", [])] == ["vgg16", "baseline", "baseline+++"]
    with pytest.raises(UserError, match="Table 11 come from PASCAL VOC's evaluation server"):
        select_rows("11", [])
