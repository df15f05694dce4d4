"""The command line of `tools/reproduce.py`: what it refuses, and a table that was cut off and went on."""

import importlib.util
import json
import pickle
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from classification.config import PretrainConfig
from classification.data import cifar10 as cifar
from reproduction import cost, runs
from reproduction.results.results_page import fill

Found = Callable[..., Any]
TINY = ["schedule.total_steps=3", "schedule.milestones=[]", "optim.batch_size=16", "run.log_every=1"]


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


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--table", "15"], ["no table '15'", "choose one of 2, 3"]),
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
        (["--table", "identity1", "--only-report", "--depth", "110=20"], ["--depth 110=20 changes nothing"]),
        (["--table", "identity2", "--depth", "56=20"], ["--depth 56=20", "110 or 164", "--depth 110=20"]),
        (["--table", "identity2", "--depth", "110"], ["--depth 110: expected"]),
        (["--table", "8", "--depth", "101=18"], ["--depth 101=18 belongs to the tables of classifiers"]),
        (["--table", "identity1", "--rows", "resnet110-scaled"], ["did you mean 'resnet110-scaled-0"]),
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
    reads_as_a_record(out, tmp_path / "records", [str(argument) for argument in command])
    assert {path.name for path in out.glob("*.*")} == {
        *("table6.md", "table6.json", "figure6.png", "degradation.png")
    }


def reads_as_a_record(out: Path, records: Path, command: list[str]) -> None:
    """The report's file is a record as it is, and its table on a page that of the report."""
    records.mkdir()
    (records / "table6_tiny.json").write_bytes((out / "table6.json").read_bytes())
    page = fill('{{ record("table6_tiny") }}', records)
    table = "\n".join((out / "table6.md").read_text().splitlines()[:6])
    assert table in page and "| ResNet-20 | 8.75 |" in table and "| plain-20 |" in table
    made = json.loads((out / "table6.json").read_text())["made"]
    assert made["command"] == shlex.join(["python", "reproduce", *command])
    assert f"Machine: {made['machine']}; torch {torch.__version__}." in page
