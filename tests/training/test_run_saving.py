"""Nothing trained is lost to what fails in an evaluation, nor to a request to stop.

The network is one weight w from 0, the loss is -w: every step adds the learning rate to w.
"""

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foundation.atomic_files import write_text
from foundation.errors import UserError
from tests.training.conftest import Batch, small_config, train
from training.command import SAME_REQUEST_SECONDS, Interrupted
from training.run import Evaluation, Task
from training.run_folder import last_checkpoint, load_checkpoint


def task(before: Callable[[int], None] = lambda step: None, **changes: Any) -> Task:
    """`before` is called before every step; an evaluation's error is -w, and a weight file is JSON of w."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"loss": -network(torch.ones(1, 1)).mean()}

    def batches(start: int) -> Iterator[Batch]:
        for step in itertools.count(start):
            before(step)
            yield Batch()

    def save(path: Path, scores: Any) -> None:
        path.write_text(json.dumps({"w": model.weight.item(), **scores}))

    def evaluate() -> Evaluation:
        error = -model.weight.item()
        return Evaluation(error, {"scores": {"error": error}})

    whole = Task(model, batches, losses, evaluate, save, data={"pictures": 10}, network={})
    return replace(whole, **changes)


def files(out: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".safetensors", ".jsonl")
    }


@pytest.mark.parametrize(
    "failure",
    [
        UserError("x.jpg is broken"),
        OSError(28, "No space left"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA"),
    ],
)
def test_an_evaluation_that_fails_loses_no_step(tmp_path: Path, failure: Exception):
    def fail() -> Evaluation:
        raise failure

    with pytest.raises(type(failure)):
        train(task(evaluate=fail), small_config(4), tmp_path / "failed")
    saved = load_checkpoint(tmp_path / "failed" / "checkpoint.pt")
    assert (saved["step"], saved["model"]["weight"].item(), saved["evaluations"]) == (2, 2 * 0.5, [])

    def not_again(step: int) -> None:
        assert step >= 2

    # The evaluation that failed is made first, and the run ends as one that never failed.
    whole = train(task(), small_config(4), tmp_path / "whole")
    assert train(task(not_again), small_config(4), tmp_path / "failed", resume=True) == whole
    assert files(tmp_path / "failed") == files(tmp_path / "whole")


def test_a_full_disk_at_the_best_weights_loses_no_step(tmp_path: Path):
    def full(path: Path, scores: Any) -> None:
        raise OSError(28, "No space left", str(path))

    with pytest.raises(OSError, match="No space left"):
        train(task(save_weights=full), small_config(4), tmp_path)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["step"] == 2
    train(task(), small_config(4), tmp_path, resume=True)
    assert json.loads((tmp_path / "best.safetensors").read_text())["w"] == 4 * 0.5


def test_the_checkpoint_after_an_evaluation_knows_it(tmp_path: Path):
    train(task(), small_config(2), tmp_path)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["evaluations"] == [(2, -1.0)]
    assert load_checkpoint(tmp_path / "checkpoint.previous.pt")["evaluations"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", [2, 3])  # step 4 ends with an evaluation, which is left to the continued run
def test_a_request_to_stop_saves_the_step_at_hand(tmp_path: Path, number: int, at: int):
    def request(step: int) -> None:
        if step == at:
            os.kill(os.getpid(), number)

    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match=f"stopped after step {at + 1}, which is saved"):
        train(task(request), small_config(6), tmp_path / "stopped")
    assert handlers == [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    saved = load_checkpoint(tmp_path / "stopped" / "checkpoint.pt")
    assert (saved["step"], saved["evaluations"]) == (at + 1, [(2, -1.0)])
    whole = train(task(), small_config(6), tmp_path / "whole")
    assert train(task(), small_config(6), tmp_path / "stopped", resume=True) == whole
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_a_second_request_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, SAME_REQUEST_SECONDS - 1, SAME_REQUEST_SECONDS + 1])
    monkeypatch.setattr("training.command.time.monotonic", lambda: next(clock))

    def request(step: int) -> None:
        for _ in range(3):  # the second comes with the first, as torchrun passes it on
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt) as caught:
        train(task(request), small_config(6), tmp_path)
    assert not isinstance(caught.value, Interrupted) and next(clock, None) is None


def test_a_longer_run_goes_on_where_the_shorter_ended(tmp_path: Path):
    train(task(), small_config(4), tmp_path / "longer")
    train(task(), small_config(8), tmp_path / "whole")

    def not_again(step: int) -> None:
        assert step >= 4

    result = train(task(not_again), small_config(8), tmp_path / "longer", resume=True)
    assert result["step"] == 8 and files(tmp_path / "longer") == files(tmp_path / "whole")


def test_an_end_that_was_no_evaluation_stays_one(tmp_path: Path):
    train(task(), small_config(3), tmp_path)
    train(task(), small_config(4), tmp_path, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "val/error" in line] == [2, 3, 4]


def test_a_run_without_checkpoint_says_that_it_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    def stop(step: int) -> None:
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        train(task(stop), small_config(4), tmp_path)
    assert train(task(), small_config(4), tmp_path, resume=True)["step"] == 4
    assert f"no checkpoint in {tmp_path} yet: the run starts from the beginning" in caplog.messages


def test_what_earlier_checkpoints_do_not_say_of_their_data_is_not_compared(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        train(task(lambda step: 1 // (3 - step)), small_config(4), tmp_path)
    more = {"pictures": 10, "training annotations": "5e1f"}
    assert train(task(data=more), small_config(4), tmp_path, resume=True)["step"] == 4
    # By now the checkpoint says it, and the run has ended; made longer, it does not go on with other data.
    other = task(data={**more, "training annotations": "77aa"})
    with pytest.raises(UserError, match="other data: training annotations 5e1f before, 77aa now"):
        train(other, small_config(8), tmp_path, resume=True)
    assert json.loads((tmp_path / "result.json").read_text())["step"] == 4


class Disk:
    """What a power cut could leave of a folder: at any moment, the names and the contents that were synced.

    A file holds what it held when it was last synced; of what came later nothing is left, or half. Names
    are those of the last time the folder was synced, or of any moment since.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.contents: dict[int, bytes] = {}  # synced, by inode
        self.listings: list[dict[str, int]] = [{}]  # inodes by name, since the folder was synced
        self.states: list[dict[str, bytes]] = []
        fsync, replace = os.fsync, os.replace

        def watched_fsync(handle: int) -> None:
            fsync(handle)
            if os.path.realpath(f"/proc/self/fd/{handle}") == str(folder):
                self.listings = [self.listing()]
            else:
                self.contents[os.fstat(handle).st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()
            self.cut()

        def watched_replace(source: Any, target: Any) -> None:
            replace(source, target)
            self.listings.append(self.listing())
            self.cut()

        monkeypatch.setattr(os, "fsync", watched_fsync)
        monkeypatch.setattr(os, "replace", watched_replace)

    def listing(self) -> dict[str, int]:
        return {path.name: path.stat().st_ino for path in self.folder.iterdir() if path.is_file()}

    def cut(self) -> None:
        now = {path.stat().st_ino: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        for listing in self.listings:
            for torn in (False, True):
                state = {}
                for name, inode in listing.items():
                    synced = self.contents.get(inode, b"")
                    more = now.get(inode, synced)[len(synced) :]
                    state[name] = synced + (more[: len(more) // 2] if torn else b"")
                if state not in self.states:
                    self.states.append(state)


def test_a_run_goes_on_from_whatever_a_power_cut_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = small_config(6, log_every=1, checkpoint_every=3)
    whole = train(task(), options, tmp_path / "whole")
    with monkeypatch.context() as patched:
        (tmp_path / "cut").mkdir()
        disk = Disk(tmp_path / "cut", patched)
        # Weight files are written as the real ones are.
        train(saved_in_one_step(task()), options, tmp_path / "cut")
    assert len(disk.states) > 25
    known = -1
    for number, state in enumerate(disk.states):
        out = tmp_path / f"state{number}"
        out.mkdir()
        for name, content in state.items():
            (out / name).write_bytes(content)
        begun = "config.yaml" in state
        found = last_checkpoint(out) if begun else None
        # Never behind a checkpoint that was there before.
        assert (found["step"] if found else 0) >= known
        known = max(known, found["step"] if found else 0)
        assert train(saved_in_one_step(task()), options, out, resume=begun) == whole
        assert files(out) == files(tmp_path / "whole")
    assert known == 6


def saved_in_one_step(task: Task) -> Task:
    def save(path: Path, scores: Any) -> None:
        write_text(path, json.dumps({"w": task.model.weight.item(), **scores}))  # type: ignore[union-attr]

    return replace(task, save_weights=save)
