"""The folder of an analysis: names of files, arrays that are measured once, and the result."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import UserError
from reproduction.analyses.analysis_folder import file_name, measured_once, working_in, write_result


def test_file_names_of_different_labels_differ():
    assert file_name("resnet20_cifar") == "resnet20_cifar"
    long = [file_name("r" * 300 + end) for end in "ab"]
    assert len(long[0]) < 100 and long[0] != long[1]
    one, other = file_name("r (a/b)"), file_name("r (a_b)")
    assert one.startswith("r_a_b_") and other.startswith("r_a_b_") and one != other


def test_arrays_are_measured_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    about = {"analysis": "lesion", "network": "a"}
    calls = []

    def measure() -> dict:
        calls.append(1)
        return {"x": np.arange(len(calls))}

    for _ in range(2):
        assert len(measured_once(tmp_path, about, measure)["x"]) == 1
    assert "lesion of a is there already, from the same weights and options" in caplog.text
    assert len(measured_once(tmp_path, {**about, "seed": 1}, measure)["x"]) == 2


def test_a_measurement_that_was_stopped_goes_on(tmp_path: Path):
    about = {"analysis": "surface", "network": "a"}
    seen = []

    def measure(begun: dict | None, keep: Callable[[dict], None]) -> dict:
        seen.append(None if begun is None else begun["done"].tolist())
        keep({"done": np.arange(2)})
        if len(seen) == 1:
            raise KeyboardInterrupt
        return {"x": np.zeros(1)}

    with pytest.raises(KeyboardInterrupt):
        measured_once(tmp_path, about, measure, resumes=True)
    measured_once(tmp_path, about, measure, resumes=True)
    assert seen == [None, [0, 1]] and [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_what_was_begun_with_other_options_stays(tmp_path: Path):
    about = {"analysis": "surface", "network": "a"}
    seen = []

    def stopped(begun: dict | None, keep: Callable[[dict], None]) -> dict:
        seen.append(begun)
        keep({"done": np.arange(2)})
        raise KeyboardInterrupt

    for options in ({}, {"points": 51}, {}):
        with pytest.raises(KeyboardInterrupt):
            measured_once(tmp_path, {**about, **options}, stopped, resumes=True)
    assert seen[:2] == [None, None] and seen[2] is not None and len(list(tmp_path.iterdir())) == 2


def test_another_analysis_does_not_take_the_place_of_what_was_measured(tmp_path: Path):
    measured_once(tmp_path, {"analysis": "surface", "network": "a"}, lambda: {"x": np.zeros(1)})
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(
        UserError, match=r"a\.npz holds surface of a, which lesion would replace; choose anoth"
    ):
        measured_once(tmp_path, {"analysis": "lesion", "network": "a"}, lambda: {"x": np.zeros(1)})
    assert (tmp_path / "a.npz").read_bytes() == before


def test_a_result_is_always_of_the_figure_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "result.json").write_text("of an earlier call")

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reproduction.analyses.analysis_folder.save_plot", stop)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path, None, [], {"analysis": "gradients"})
    assert not list(tmp_path.iterdir())


def test_the_command_that_repeats_the_analysis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("reproduction.analyses.analysis_folder.save_plot", lambda figure, stem: None)
    write_result(
        tmp_path, None, ["run.seed=1"], {"analysis": "receptive"}, weights=[Path("w")], configs=[Path("c d")]
    )
    command = json.loads((tmp_path / "result.json").read_text())["command"]
    expected = f"python tools/analyze.py receptive --config 'c d' --weights w --out {tmp_path} run.seed=1"
    assert command == expected


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="--out .*; choose a folder that can be written"),
        working_in(tmp_path / "file" / "below"),
    ):
        pass


def test_one_process_works_in_a_folder_at_a_time(tmp_path: Path):
    with working_in(tmp_path / "out"):
        again = working_in(tmp_path / "out")
        with pytest.raises(UserError, match="another process works in .*; wait for its end"):
            again.__enter__()
    with working_in(tmp_path / "out"):
        pass
