"""Which trainings of some variants run, in what order, which go on, and how several at once end.

None takes place here; `tests/pipeline/` shows real ones.
"""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction import trainings as module
from reproduction.trainings import train_all, train_variants, with_seed
from segmentation.config import SegmentationConfig
from training.command import FULL_COLLECTION, Interrupted, stop_requested, stop_requests

ROOT = Path(__file__).resolve().parents[2]
CONFIG = DetectionConfig()


def train(out: Path, seeds: int = 2, processes: int = 1, resume: bool = False) -> dict[str, list[dict]]:
    return train_variants(
        ["one", "two"],
        lambda name, seed: with_seed(CONFIG, seed),
        lambda name, seed: out / f"{name}_seed{seed}",
        seeds=seeds,
        resume=resume,
        overwrite=False,
        processes=processes,
    )


def test_a_training_is_of_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "finetune", lambda config, out, **flags: {"of": "finetune", **flags})
    monkeypatch.setattr(module, "train_segmenter", lambda config, out, **flags: {"of": "segmenter", **flags})
    for config, trained_by in ((CONFIG, "finetune"), (SegmentationConfig(), "segmenter")):
        training = module.Training("one", with_seed(config, 1), tmp_path, resume=True, overwrite=False)
        assert training.train() == {"of": trained_by, "resume": True, "overwrite": False}


def test_every_variant_has_its_first_seed_before_any_has_its_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []

    def stand_in(config: DetectionConfig, out: Path, *, resume: bool, overwrite: bool) -> dict[str, Any]:
        calls.append((out.name, config.run.seed, resume))
        return {"of": out.name}

    monkeypatch.setattr(module, "finetune", stand_in)
    (tmp_path / "two_seed0").mkdir()
    (tmp_path / "two_seed0" / "config.yaml").touch()
    found = train(tmp_path, resume=True)
    assert calls == [
        *(("one_seed0", 0, False), ("two_seed0", 0, True), ("one_seed1", 1, False), ("two_seed1", 1, False))
    ]
    assert found == {name: [{"of": f"{name}_seed{seed}"} for seed in (0, 1)] for name in ("one", "two")}
    calls.clear()
    train(tmp_path, seeds=1)
    assert calls[1] == ("two_seed0", 0, False)  # `finetune` refuses it; going on was not asked for


def test_a_seed_changes_nothing_else():
    assert with_seed(with_seed(CONFIG, 7), CONFIG.run.seed) == CONFIG
    assert with_seed(CONFIG, 7).run.seed == 7


@pytest.mark.parametrize("option", ["seeds", "processes"])
def test_numbers_that_are_none(tmp_path: Path, option: str):
    with pytest.raises(UserError, match=f"--{option} must be 1 or more, got 0"):
        train(tmp_path, **{option: 0})


def test_processes_of_torchrun_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--processes 2 has no effect under torchrun"):
        train(tmp_path, processes=2)


class Quick(NamedTuple):
    """Stands for a training, in processes that no fixture reaches."""

    name: str
    seconds: float = 0.0
    error: str = ""
    place: Path | None = None

    def train(self) -> dict[str, Any]:
        if self.place is not None:
            (self.place / f"{self.name} has begun").touch()
        with stop_requests():
            end = time.monotonic() + self.seconds
            while time.monotonic() < end and not stop_requested():
                time.sleep(0.05)
        if stop_requested():
            raise Interrupted(f"{self.name} is saved")
        if self.error == "dies":
            os._exit(1)
        if self.error:
            raise UserError(self.error)
        return {"of": self.name}


def test_results_stand_in_the_order_of_the_trainings_whichever_ends_first():
    quick: list[Any] = [Quick("slow", 2.0), Quick("fast"), Quick("last")]
    assert train_all(quick, 2) == [{"of": "slow"}, {"of": "fast"}, {"of": "last"}]


class Settings(NamedTuple):
    """Tells what its process was set up with."""

    name: str

    def train(self) -> dict[str, Any]:
        return {"full collection": gc.get_threshold()[2]}


def test_processes_are_set_up_as_that_of_the_command():
    some: list[Any] = [Settings("one"), Settings("two")]
    assert train_all(some, 2) == 2 * [{"full collection": FULL_COLLECTION}]


@pytest.mark.parametrize(
    ("error", "message"),
    [("no such picture", "^no such picture$"), ("dies", "^bad: its process has died, most often for want")],
)
def test_if_one_fails_the_others_end_and_none_begins(tmp_path: Path, error: str, message: str):
    quick: list[Any] = [
        Quick("bad", error=error),
        Quick("long", 60.0, place=tmp_path),
        Quick("never", place=tmp_path),
    ]
    with pytest.raises(UserError, match=message):
        train_all(quick, 2)
    assert not (tmp_path / "never has begun").exists()


def test_a_request_that_reaches_every_process_twice_ends_all(tmp_path: Path):
    """As `timeout` and terminals send it: to the command and to its processes, at any moment."""
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.reproduction.test_trainings import Quick\n"
        "from reproduction.trainings import train_all; from training.command import Interrupted\n"
        "try: train_all([Quick(n, 60.0, place=Path(sys.argv[1])) for n in 'abc'], 2)\n"
        "except Interrupted as error: print(error)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    started = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    wait_for(lambda: len([*tmp_path.iterdir()]) == 2)
    for _ in range(2):
        os.killpg(started.pid, signal.SIGTERM)
    out, _ = started.communicate(timeout=60)
    assert out == "stopped; every training that was under way is saved\n"
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "b"]


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)
