"""What is run, resumed and reported of a table or figure; no training takes place."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from classification.config import PretrainConfig
from foundation.errors import UserError
from reproduction import cost, runs
from reproduction.reproduce import reproduce, select
from training.config import dump_config

Found = Callable[..., Any]
TINY = ["schedule.total_steps=3", "schedule.milestones=[]", "optim.batch_size=16", "run.log_every=1"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, bool]]:
    """(folder, seed, resumed) of every training, none of which takes place: each ends at once."""
    calls: list[tuple[str, int, bool]] = []

    def stand_in(config: PretrainConfig, out: Path, *, resume: bool = False) -> None:
        calls.append((out.name, config.run.seed, resume))
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(dump_config(config))
        result = {"step": config.schedule.total_steps, "scores": {"top1_error": 10.0 + config.run.seed}}
        (out / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(runs, "pretrain", stand_in)
    monkeypatch.setattr(cost, "open_split", lambda data, training: None)
    monkeypatch.setattr(cost, "seconds_per_step", lambda config, pictures: 0.5)
    return calls


def test_a_folder_of_another_configuration_is_refused_before_anything_runs(
    write_run: Found, tmp_path: Path, trained: list
):
    write_run("plain20_cifar", 1, overrides=["optim.lr=0.3"], top1_error=1.0)
    selection = select("6", None)
    with pytest.raises(
        UserError, match=r"plain20_cifar_seed1 was .*\n  optim.lr: 0.3 before, 0.1 now\n.*--out"
    ):
        reproduce(selection, tmp_path, names=["resnet20", "plain20"], seeds=2)
    assert trained == []


def test_what_is_missing_runs_and_what_has_begun_goes_on(
    write_run: Found, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture
):
    write_run("resnet20_cifar", 0, top1_error=9.0)
    write_run("plain20_cifar", 0)
    selection = select("6", None)
    reproduce(selection, tmp_path, names=["resnet20", "plain20"], seeds=2)
    assert trained == [
        ("plain20_cifar_seed0", 0, True),
        ("resnet20_cifar_seed1", 1, False),
        ("plain20_cifar_seed1", 1, False),
    ]
    printed = capsys.readouterr().out
    assert "| resnet20_cifar_seed0 | complete | 0 | 0 | 0 |" in printed
    # 64,000 steps of 0.5 s; 64 evaluations of 10,000 / 128 · 0.5 / 3 s = 13.02 s: 8.889 + 0.231 hours.
    assert "| plain20_cifar_seed1 | missing | 64,000 | 0.5 | 9.12 | 4.3 |" in printed
    assert "4 runs: 1 complete, 1 to be resumed, 2 missing" in printed
    assert "| ResNet-20 | 8.75 | 10.00 ± 1.41 | 2 | +1.25 |" in printed
    assert "Maxout" not in printed and "ResNet-32" not in printed
    assert (tmp_path / "table6.md").read_text().strip() in printed
    written = json.loads((tmp_path / "table6.json").read_text())
    assert written["table"] == "6" and [len(row["runs"]) for row in written["rows"]] == [2, 2]
    reproduce(selection, tmp_path, names=["resnet20", "plain20"], seeds=2)
    assert len(trained) == 3, "all complete: nothing runs again"


def test_several_at_once(write_run: Found, tmp_path: Path, trained: list, monkeypatch: pytest.MonkeyPatch):
    groups = []

    def stand_in(chosen: list[tuple[PretrainConfig, Path, bool]]) -> None:
        groups.append([(out.name, resume) for _, out, resume in chosen])
        for config, out, resume in chosen:
            runs.pretrain(config, out, resume=resume)

    monkeypatch.setattr(runs, "pretrain_together", stand_in)
    write_run("plain20_cifar", 0)
    reproduce(select("6", None), tmp_path, names=["resnet20", "plain20", "plain32"], together=2, seeds=1)
    assert groups == [
        [("resnet20_cifar_seed0", False), ("plain20_cifar_seed0", True)],
        [("plain32_cifar_seed0", False)],
    ]


def test_a_dry_run_and_a_report_train_nothing(
    write_run: Found, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture
):
    write_run("resnet20_cifar", 5, overrides=TINY, top1_error=9.0)
    before = sorted(tmp_path.rglob("*"))
    # Without the pictures, and without the GPU that the runs will need.
    options = [*TINY, "run.cuda_graph=true"]
    reproduce(select("6", None), tmp_path, names=["resnet20"], seeds=1, overrides=options, dry_run=True)
    assert "| resnet20_cifar_seed0 | missing |" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    reproduce(select("6", None), tmp_path, only_report=True)
    printed = capsys.readouterr().out
    assert "| ResNet-20 | 8.75 | 9.00 | 1 | (+0.25) not comparable |" in printed
    assert "| ResNet-32 | 7.51 | not run | 0 |" in printed and "| Maxout | 9.38 | not ours |" in printed
    assert trained == []


def test_a_figure_alone(write_run: Found, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture):
    assert [row.key for row in select(None, "4").rows] == [
        "plain18",
        "resnet18-A",
        "plain34",
        "resnet34-A",
    ]
    assert "highway19_cifar" not in [row.key for row in select(None, "degradation").rows]
    metrics = [{"step": 3, "val/top1_error": 9.0}]
    write_run("resnet20_cifar", metrics=metrics, top1_error=9.0)
    reproduce(select(None, "6"), tmp_path, only_report=True)
    printed = capsys.readouterr().out
    assert printed.startswith("![figure6](figure6.png)") and "Maxout" not in printed
    assert {path.name for path in tmp_path.glob("figure6.*")} == {"figure6.png", "figure6.md"}
    reproduce(select(None, "4"), tmp_path, only_report=True)
    assert capsys.readouterr().out == "No run for figure4.png has ended yet.\n"


def test_a_table_brings_its_figures():
    assert select("6", None).figures == ["6", "degradation"]
    assert select("2", None).figures == ["4"] and select("3", None).figures == []
