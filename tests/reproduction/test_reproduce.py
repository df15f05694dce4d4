"""Plans, costs, resumption and the command line of `tools/reproduce.py`."""

import importlib.util
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.config import PretrainConfig
from classification.data import cifar10 as cifar
from foundation.errors import UserError
from reproduction import cost, runs
from reproduction.cost import Cost, costs, plan_table, seconds_per_step
from reproduction.paper import TABLES
from reproduction.reproduce import find_target, reproduce
from reproduction.runs import choose_rows, plan_runs
from training.config import dump_config

Found = Callable[..., Any]
ROWS = TABLES["6"].rows
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
    monkeypatch.setattr(cost, "_open", lambda config, without_data: None)
    monkeypatch.setattr(cost, "seconds_per_step", lambda config, pictures: 0.5)
    return calls


@pytest.fixture
def tool(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls the command line in this process."""

    def call(*arguments: object) -> None:
        spec = importlib.util.spec_from_file_location("tool_reproduce", root / "tools" / "reproduce.py")
        assert spec is not None and spec.loader is not None
        tool = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tool)
        monkeypatch.setattr(sys, "argv", ["reproduce", *map(str, arguments)])
        tool.run(tool.main, tool.parser())

    return call


def test_rows_are_called_by_network(row_of: Found):
    chosen = choose_rows(ROWS, ["plain20", "ResNet20", "resnet110_cifar"])
    assert [row.key for row in chosen] == ["resnet20_cifar", "resnet110_cifar", "plain20_cifar"]
    assert [row.key for row in choose_rows(TABLES["3"].rows, ["resnet34-b"])] == ["resnet34-B"]
    everything = choose_rows(ROWS, [])
    assert len(everything) == 13 and all(row.config for row in everything)


def test_plan(write_run: Found, tmp_path: Path):
    write_run("plain20_cifar", 0, overrides=TINY, top1_error=1.0)
    begun = write_run("resnet20_cifar", 1, overrides=TINY)
    torch.save({"step": 2}, begun / "checkpoint.pt")
    write_run("plain20_cifar", 1, overrides=TINY)  # killed before its first checkpoint
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 2, tmp_path, TINY)
    assert [(run.folder.name, run.state, run.steps_to_go()) for run in planned] == [
        ("resnet20_cifar_seed0", "missing", 3),
        ("plain20_cifar_seed0", "complete", 0),
        ("resnet20_cifar_seed1", "begun", 1),
        ("plain20_cifar_seed1", "begun", 3),
    ]
    assert [run.config.run.seed for run in planned] == [0, 0, 1, 1]
    assert planned[0].config.optim.batch_size == 16


def test_a_plan_of_several_at_once_keeps_the_seeds_of_a_row_together(tmp_path: Path):
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 2, tmp_path, TINY, together=2)
    assert [(run.row.key, run.seed) for run in planned] == [
        *(("resnet20_cifar", 0), ("resnet20_cifar", 1)),
        *(("plain20_cifar", 0), ("plain20_cifar", 1)),
    ]
    with pytest.raises(UserError, match="highway19_cifar has dropout"):
        plan_runs(choose_rows(ROWS, ["highway19"]), 2, tmp_path, TINY, together=2)


def test_a_folder_of_another_configuration_is_refused_before_anything_runs(
    write_run: Found, tmp_path: Path, trained: list
):
    write_run("plain20_cifar", 1, overrides=["optim.lr=0.3"], top1_error=1.0)
    target = find_target("6", None)
    with pytest.raises(
        UserError, match=r"plain20_cifar_seed1 was .*\n  optim.lr: 0.3 before, 0.1 now\n.*--out"
    ):
        reproduce(target, tmp_path, names=["resnet20", "plain20"], seeds=2)
    assert trained == []


def test_free_keys_may_change(write_run: Found, tmp_path: Path):
    write_run("plain20_cifar", overrides=["run.workers=7", "run.device=cuda"], top1_error=1.0)
    (run,) = plan_runs(choose_rows(ROWS, ["plain20"]), 1, tmp_path, ["run.device=cpu"])
    assert run.state == "complete"


def test_what_is_missing_runs_and_what_has_begun_goes_on(
    write_run: Found, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture
):
    write_run("resnet20_cifar", 0, top1_error=9.0)
    write_run("plain20_cifar", 0)
    target = find_target("6", None)
    reproduce(target, tmp_path, names=["resnet20", "plain20"], seeds=2)
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
    reproduce(target, tmp_path, names=["resnet20", "plain20"], seeds=2)
    assert len(trained) == 3, "all complete: nothing runs again"


def test_several_at_once(write_run: Found, tmp_path: Path, trained: list, monkeypatch: pytest.MonkeyPatch):
    groups = []

    def stand_in(chosen: list[tuple[PretrainConfig, Path, bool]]) -> None:
        groups.append([(out.name, resume) for _, out, resume in chosen])
        for config, out, resume in chosen:
            runs.pretrain(config, out, resume=resume)

    monkeypatch.setattr(runs, "pretrain_together", stand_in)
    write_run("plain20_cifar", 0)
    reproduce(find_target("6", None), tmp_path, names=["resnet20", "plain20", "plain32"], together=2, seeds=1)
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
    reproduce(find_target("6", None), tmp_path, names=["resnet20"], seeds=1, overrides=options, dry_run=True)
    assert "| resnet20_cifar_seed0 | missing |" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    reproduce(find_target("6", None), tmp_path, only_report=True)
    printed = capsys.readouterr().out
    assert "| ResNet-20 | 8.75 | 9.00 | 1 | (+0.25) not comparable |" in printed
    assert "| ResNet-32 | 7.51 | not run | 0 |" in printed and "| Maxout | 9.38 | not ours |" in printed
    assert trained == []


def test_a_figure_alone(write_run: Found, tmp_path: Path, trained: list, capsys: pytest.CaptureFixture):
    assert [row.key for row in find_target(None, "4").rows] == [
        "plain18",
        "resnet18-A",
        "plain34",
        "resnet34-A",
    ]
    assert "highway19_cifar" not in [row.key for row in find_target(None, "degradation").rows]
    metrics = [{"step": 3, "val/top1_error": 9.0}]
    write_run("resnet20_cifar", metrics=metrics, top1_error=9.0)
    reproduce(find_target(None, "6"), tmp_path, only_report=True)
    printed = capsys.readouterr().out
    assert printed.startswith("![figure6](figure6.png)") and "Maxout" not in printed
    assert {path.name for path in tmp_path.glob("figure6.*")} == {"figure6.png", "figure6.md"}
    reproduce(find_target(None, "4"), tmp_path, only_report=True)
    assert capsys.readouterr().out == "No run for figure4.png has ended yet.\n"


def test_a_table_brings_its_figures():
    assert find_target("6", None).figures == ["6", "degradation"]
    assert find_target("2", None).figures == ["4"] and find_target("3", None).figures == []


def test_a_row_is_timed_once_and_only_if_it_has_steps_to_go(
    write_run: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    timed = []
    monkeypatch.setattr(cost, "_open", lambda config, without_data: None)
    monkeypatch.setattr(
        cost, "seconds_per_step", lambda config, pictures: timed.append(config.model.name) or 2.0
    )
    write_run("plain20_cifar", overrides=TINY, top1_error=1.0)
    found = costs(plan_runs(choose_rows(ROWS, ["resnet20"]), 2, tmp_path, TINY), without_data=False)
    # Three steps of 2 s; 3 / 1000 evaluations of 10,000 / 16 · 2 / 3 s.
    seconds = 3 * 2 + 0.003 * 625 * 2 / 3
    # 269,722 parameters (He et al. 2015 print 0.27 M), 16 bytes each.
    assert found == [Cost(3, 2.0, pytest.approx(seconds / 3600), 4_315_552)] * 2
    assert timed == ["resnet20_cifar"]
    (complete,) = costs(plan_runs(choose_rows(ROWS, ["plain20"]), 1, tmp_path, TINY), without_data=False)
    assert (complete.steps, complete.step_seconds, complete.hours) == (0, 0, 0) and len(timed) == 1


def test_the_plan_adds_up(tmp_path: Path):
    planned = plan_runs(choose_rows(ROWS, ["resnet20", "plain20"]), 1, tmp_path, [])
    text = plan_table(
        planned, [Cost(10, 1.0, 1.25, 3_000_000), Cost(20, 1.0, 2.5, 4_000_000)], tmp_path / "new"
    )
    assert "about 3.75 hours" in text and "7 MB more on the disk" in text
    text = plan_table(planned, [Cost(10, 1.0, 1234.5, 0), Cost(0, 0.0, 0.0, 0)], tmp_path)
    assert "| 10 | 1 | 1,234 |" in text and "about 1,234 hours" in text


def test_steps_are_timed_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Found):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    rows = choose_rows(TABLES["2"].rows, ["resnet18-A"])
    small = ["data.image_size=32", "data.resize=32", "optim.batch_size=64", "run.workers=0"]
    monkeypatch.setitem(cost.CPU_PICTURES, "folder", 2)
    monkeypatch.setattr(cost, "REPORTS", 2)
    planned = plan_runs(rows, 1, tmp_path / "out", [*small, "run.device=cpu"])
    with pytest.raises(UserError, match="imagenet"):
        costs(planned, without_data=False)
    (found,) = costs(planned, without_data=True)
    # Two pictures were timed, the step has 64.
    assert found.step_seconds > 0 and found.steps == planned[0].config.schedule.total_steps
    assert "black pictures" in caplog.text
    assert not (tmp_path / "out").exists()


def test_the_time_is_scaled_to_the_batch(monkeypatch: pytest.MonkeyPatch, row_of: Found):
    taken = []

    def stand_in(config: PretrainConfig, *_: object) -> None:
        taken.append((config.optim.batch_size, config.optim.accumulate, config.schedule.total_steps))

    monkeypatch.setattr(cost, "_train_without_scores", stand_in)
    monkeypatch.setattr(cost, "pictures_per_second", lambda folder: 10.0)
    config = runs.row_config(row_of("resnet20_cifar"), ["run.device=cpu", "optim.accumulate=2"])
    assert seconds_per_step(config, None) == 12.8  # 128 pictures at 10 a second
    assert taken == [(32, 1, 6)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--table", "7"], ["no table '7'"]),
        (["--table", "5"], ["test server"]),
        (["--figure", "degredation"], ["did you mean 'degradation'"]),
        ([], ["--table 6"]),
        (["--table", "6", "--figure", "6"], ["--table or --figure"]),
        (["--table", "6", "--rows", "resnt20"], ["'resnt20'", "did you mean 'resnet20'"]),
        (["--table", "6", "--rows", "maxout"], ["'maxout' is not ours"]),
        (["--table", "6", "--seeds", "0"], ["--seeds must be 1 or more, got 0"]),
        (["--table", "6", "--together", "0"], ["--together must be 1 or more, got 0"]),
        (["--table", "6", "--rows", "resnet20", "optim.rate=1"], ["optim.rate: unknown key"]),
        (["--table", "6", "run.seed=3"], ["'run.seed=3'", "--seeds"]),
        (["--table", "6", "data.kind=shapes"], ["'data.kind=shapes'", "belong to the row"]),
        (["--table", "6", "--only-report", "optim.lr=1"], ["optim.lr=1 changes nothing"]),
        (["--table", "6", "--rows", "resnet20"], ["no file", "data_batch_1", "cifar-10-python.tar.gz"]),
    ],
)
def test_bad_input(
    tool: Found,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    parts: list[str],
):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as left:
        tool(*arguments, "--out", tmp_path / "out")
    message = capsys.readouterr().err
    assert left.value.code == 2 and "Traceback" not in message
    assert all(part in message for part in parts), message
    assert message.count("error: ") == 1 and not (tmp_path / "out").exists()


@pytest.fixture
def tiny_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's files under $DATA_ROOT, of which 64 pictures are trained on and 50 tested."""
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    batch = {b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [i % 10 for i in range(10_000)]}
    content = pickle.dumps(batch, protocol=3)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(content)
    names = {b"label_names": [b"class %d" % number for number in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=3))
    monkeypatch.setitem(cifar.SPLITS, "train", (["data_batch_1"], slice(0, 64)))
    monkeypatch.setitem(cifar.SPLITS, "test", (["test_batch"], slice(0, 50)))
    monkeypatch.setenv("DATA_ROOT", str(tmp_path / "data"))


def test_from_the_command_line(
    tool: Found,
    tiny_cifar: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    out = tmp_path / "out"
    command = [
        "--table",
        "6",
        "--rows",
        "resnet20",
        "plain20",
        "--seeds",
        "1",
        "--out",
        out,
        "run.device=cpu",
    ]
    command += [*TINY, "run.eval_every=2", "run.checkpoint_every=1"]
    monkeypatch.setattr(cost, "REPORTS", 2)
    train = runs.pretrain

    def killed(config: PretrainConfig, folder: Path, *, resume: bool) -> None:
        if "plain" in folder.name:
            raise KeyboardInterrupt
        train(config, folder, resume=resume)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(runs, "pretrain", killed)
        tool(*command)
    kept = (out / "resnet20_cifar_seed0" / "result.json").stat().st_mtime_ns
    capsys.readouterr()
    tool(*command)
    printed = capsys.readouterr().out
    assert "2 runs: 1 complete, 0 to be resumed, 1 missing" in printed
    assert (out / "resnet20_cifar_seed0" / "result.json").stat().st_mtime_ns == kept
    result = json.loads((out / "plain20_cifar_seed0" / "result.json").read_text())
    written = json.loads((out / "table6.json").read_text())["rows"]
    assert [row["key"] for row in written] == ["resnet20_cifar", "plain20_cifar"]
    (run,) = written[1]["runs"]
    assert run["scores"] == result["scores"] and run["steps"] == 3 and not written[1]["comparable"]
    assert run["epochs"] == 0.75 and run["training_error"] is not None
    assert {path.name for path in out.glob("*.*")} == {
        *("table6.md", "table6.json", "figure6.png", "degradation.png")
    }
