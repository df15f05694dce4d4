"""A whole training in its run folder: what is written, when it ends, and how it is taken up again.

The network is one weight w from 0, the loss is -w: every step adds the learning rate to w.
"""

import dataclasses
import gc
import itertools
import json
import logging
import math
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from foundation.errors import UserError
from tests.training.conftest import Batch, small_config, train
from training import run as training
from training.run import Evaluation, Task
from training.run_folder import load_checkpoint


def endless(step: int) -> Iterator[Batch]:
    return itertools.repeat(Batch())


def no_step(step: int) -> Iterator[Batch]:
    raise AssertionError(f"asked for the batch of step {step}")
    yield


def task(errors: Iterable[float], batches: Any = endless, pictures: int = 10) -> Task:
    """Evaluations give `errors` in turn; a weight file is JSON of w and the scores."""
    model, left = nn.Linear(1, 1, bias=False), iter(errors)
    nn.init.zeros_(model.weight)

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        output = network(torch.ones(1, 1)).mean()
        return {"loss_a": -output, "loss_b": 0 * output + 3}

    def evaluate() -> Evaluation:
        error = next(left)
        return Evaluation(error, {"scores": {"error": error}, "of": model.weight.item()})

    def save(path: Path, scores: Any) -> None:
        path.write_text(json.dumps({"w": model.weight.item(), **scores}))

    return Task(
        model=model,
        batches=batches,
        losses=losses,
        evaluate=evaluate,
        save_weights=save,
        data={"pictures": pictures},
        network={},
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_best_and_last_weights_and_the_result(tmp_path: Path):
    result = train(task([3.0, 1.0, 2.0]), small_config(6), tmp_path)
    assert read(tmp_path / "best.safetensors") == {"w": 4 * 0.5, "error": 1.0}
    assert read(tmp_path / "last.safetensors") == {"w": 6 * 0.5, "error": 2.0}
    # The last evaluation's own entries, and of the best only when it was and its error.
    last = {"step": 6, "scores": {"error": 2.0}, "of": 3.0, "best": {"step": 4, "error": 1.0}}
    assert result == last == read(tmp_path / "result.json")


def test_of_equal_errors_the_first_is_the_best(tmp_path: Path):
    result = train(task([1.0, 1.0]), small_config(4), tmp_path)
    assert result["best"] == {"step": 2, "error": 1.0}
    assert read(tmp_path / "best.safetensors")["w"] == 2 * 0.5


def test_metrics_and_the_learning_rate_in_them(tmp_path: Path):
    # Rates 0.5 0.5 0.25 0.25 0.25, so w is 0, 0.5, 1, 1.25, 1.5 before each step, and the loss -w.
    train(task([7.0, 6.0]), small_config(5, eval_every=3, milestones=(2,)), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [
        {"step": 2, "loss_a": -(0 + 0.5) / 2, "loss_b": 3.0, "lr": 0.5},
        {"step": 3, "val/error": 7.0},
        {"step": 4, "loss_a": -(1 + 1.25) / 2, "loss_b": 3.0, "lr": 0.25},
        {"step": 5, "loss_a": -1.5, "loss_b": 3.0, "lr": 0.25},
        {"step": 5, "val/error": 6.0},
    ]


def test_early_stop(tmp_path: Path):
    # Better at step 4, then twice not.
    result = train(task([3.0, 1.0, 2.0, 1.0]), small_config(100, early_stop=2), tmp_path)
    assert (result["step"], result["best"]) == (8, {"step": 4, "error": 1.0})
    assert read(tmp_path / "last.safetensors")["w"] == 8 * 0.5


def test_an_early_stop_outlasts_a_kill_before_the_result(tmp_path: Path):
    stopped = train(task([1.0, 2.0]), small_config(100, early_stop=1), tmp_path)
    (tmp_path / "result.json").unlink()
    again = task([2.0])
    assert train(again, small_config(100, early_stop=1), tmp_path, resume=True) == stopped
    assert again.model.weight.item() == 4 * 0.5


def test_the_network_of_the_training_before_is_gone_at_the_first_step(tmp_path: Path):
    before = task([3.0])
    before.model.itself = [before.model]  # type: ignore[assignment]
    model = weakref.ref(before.model)

    def batches(step: int) -> Iterator[Batch]:
        assert model() is None
        return endless(step)

    gc.disable()
    try:
        train(before, small_config(2), tmp_path / "one")
        del before
        assert model() is not None
        train(task([3.0], batches), small_config(2), tmp_path / "two")
    finally:
        gc.enable()


def test_an_ended_run_is_not_trained_again(tmp_path: Path):
    result = train(task([3.0]), small_config(2), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert train(task([], no_step), small_config(2), tmp_path, resume=True) == result
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_overwriting_trains_again(tmp_path: Path):
    train(task([1.0, 2.0]), small_config(4), tmp_path)
    assert train(task([3.0]), small_config(2), tmp_path, overwrite=True)["best"] == {"step": 2, "error": 3.0}
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_killed_after_the_last_checkpoint(tmp_path: Path):
    whole = train(task([1.0, 2.0]), small_config(4), tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in ("last.safetensors", "metrics.jsonl")}
    for name in ("result.json", "last.safetensors"):
        (tmp_path / name).unlink()
    assert (
        train(task([2.0]), small_config(4), tmp_path, resume=True) == whole == read(tmp_path / "result.json")
    )
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_killed_before_the_first_checkpoint(tmp_path: Path):
    def killed(step: int) -> Iterator[Batch]:
        yield from [Batch()] * 3
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(task([1.0], killed), small_config(4), tmp_path)
    result = train(task([1.0, 2.0]), small_config(4), tmp_path, resume=True)
    assert (result["of"], result["best"]["step"]) == (4 * 0.5, 2)
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 2, 4, 4]


def test_no_number_is_the_worst_error(tmp_path: Path):
    result = train(task([math.nan, 5.0, math.nan]), small_config(6), tmp_path)
    assert result["best"] == {"step": 4, "error": 5.0}
    assert json.loads((tmp_path / "best.safetensors").read_text())["w"] == 4 * 0.5


def test_without_any_error_the_first_weights_are_kept_and_the_result_is_json(tmp_path: Path):
    unknown = task([math.nan, math.nan])
    nothing = Evaluation(math.nan, {"scores": {"AP": None}})
    result = train(Task(**{**vars(unknown), "evaluate": lambda: nothing}), small_config(4), tmp_path)
    assert result["best"] == {"step": 2, "error": None}
    assert read(tmp_path / "result.json") == result
    assert read(tmp_path / "best.safetensors") == {"w": 2 * 0.5, "AP": None}


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path):
    short = small_config(4, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(replace_evaluation(task([1.0]), stop_at=2), short, tmp_path / "run")
    with pytest.raises(UserError, match="made with other data: pictures 10 before, 9 now; restore the data"):
        train(task([1.0], pictures=9), short, tmp_path / "run", resume=True)
    assert train(task([0.5]), short, tmp_path / "run", resume=True)["step"] == 4


@pytest.mark.parametrize("order", [1, 2])
def test_a_run_goes_on_with_another_order_of_its_pictures_but_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: int
):
    short = small_config(4, checkpoint_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(replace_evaluation(task([1.0]), stop_at=2), short, tmp_path)
    reordered = dataclasses.replace(task([0.5]), order=order)
    assert train(reordered, short, tmp_path, resume=True)["step"] == 4
    assert ("began the run with its pictures in another order" in caplog.text) == (order == 2)


def replace_evaluation(task: Task, stop_at: int) -> Task:
    """The task, interrupted at its evaluation after that of step `stop_at`."""
    calls = itertools.count(stop_at, 2)

    def evaluate() -> Evaluation:
        if next(calls) > stop_at:
            raise KeyboardInterrupt
        return task.evaluate()

    return dataclasses.replace(task, evaluate=evaluate)


def test_the_warmup_ends_with_a_report_below_the_error_and_not_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    errors = iter([90.0, 80.0, 80.0, 70.0, 90.0, 90.0])
    plain = task([1.0])

    def losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {**plain.losses(network, batch), "top1_error": torch.tensor(next(errors))}

    warm = small_config(6, eval_every=6)
    schedule = dataclasses.replace(warm.schedule, warmup="error", warmup_factor=0.5)
    train(dataclasses.replace(plain, losses=losses), dataclasses.replace(warm, schedule=schedule), tmp_path)
    reports = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    # Reports at 2 (mean 85), 4 (mean 75: below 80) and 6 (mean 90).
    assert [entry["lr"] for entry in reports if "lr" in entry] == [0.25, 0.25, 0.5]
    assert [entry["top1_error"] for entry in reports if "lr" in entry] == [85, 75, 90]
    ends = [message for message in caplog.messages if "warm-up" in message]
    assert ends == ["training error below 80 %: the warm-up ends at step 4"]


def test_a_warmup_by_error_needs_a_training_error(tmp_path: Path):
    blind = small_config(4)
    schedule = dataclasses.replace(blind.schedule, warmup="error")
    with pytest.raises(UserError, match="warmup=error waits for a training error"):
        train(task([1.0]), dataclasses.replace(blind, schedule=schedule), tmp_path)


def test_a_graph_needs_a_gpu_before_anything_is_written(tmp_path: Path):
    with pytest.raises(
        UserError, match="run.cuda_graph needs one process, a CUDA GPU, .* training is on cpu"
    ):
        train(task([1.0]), small_config(4, cuda_graph=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_compiled_and_recomputed_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    done = []
    monkeypatch.setattr(training, "compile_blocks", lambda model: done.append("compiled"))
    monkeypatch.setattr(training, "recompute_blocks", lambda model: done.append("recomputed"))
    train(task([1.0]), small_config(2), tmp_path / "neither")
    assert done == []
    train(task([1.0]), small_config(2, compile=True, recompute=True), tmp_path / "both")
    assert done == ["compiled", "recomputed"]


def test_the_average_is_scored_and_saved_and_the_weights_go_on(tmp_path: Path):
    averaged = small_config(4, eval_every=2)
    averaged = dataclasses.replace(averaged, optim=dataclasses.replace(averaged.optim, ema_decay=0.25))
    result = train(task([2.0, 1.0]), averaged, tmp_path / "whole")
    # Weights 0.5, 1, 1.5, 2; decays 2/11 and 1/4: averages 9/22, then a quarter of the one before + 3/4.
    second = (9 / 22) / 4 + 1 * 3 / 4
    fourth = (second / 4 + 1.5 * 3 / 4) / 4 + 2 * 3 / 4
    assert result["of"] == pytest.approx(fourth)
    for name in ("best", "last"):
        assert read(tmp_path / "whole" / f"{name}.safetensors")["w"] == result["of"]
    checkpoint = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")
    assert checkpoint["model"]["weight"].item() == 2
    assert checkpoint["average"]["averages"]["weight"].item() == result["of"]


def test_an_average_goes_on_to_the_same_bits(tmp_path: Path):
    averaged = small_config(6, eval_every=2, checkpoint_every=2)
    averaged = dataclasses.replace(averaged, optim=dataclasses.replace(averaged.optim, ema_decay=0.9))
    whole = train(task([3.0, 2.0, 1.0]), averaged, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(replace_evaluation(task([3.0]), stop_at=2), averaged, tmp_path / "killed")
    assert train(task([2.0, 1.0]), averaged, tmp_path / "killed", resume=True) == whole
    for name in ("best.safetensors", "last.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_pictures_are_drawn_after_each_checkpoint_of_an_evaluation_and_at_the_end(tmp_path: Path):
    seen: list[tuple[bool, int, bool]] = []

    def draw(last: bool) -> None:
        step = load_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"]
        seen.append((last, step, (tmp_path / "run" / "result.json").is_file()))

    drawn = dataclasses.replace(task([3, 2]), draw=draw)
    train(drawn, small_config(4), tmp_path / "run")
    assert seen == [(False, 2, False), (False, 4, False), (True, 4, True)]
