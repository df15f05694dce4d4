"""Two processes draw apart in training, and a continued run draws as one that was never killed."""

from collections.abc import Callable

import pytest

# Runs end, are killed at a step, and go on. Each gives what dropout left of eight ones in every step.
TRAININGS = """
import itertools, json, sys
from dataclasses import dataclass
from pathlib import Path
import torch
from torch import nn
from training.config import RunConfig
from training.devices import is_main, process_group
from training.optim import OptimConfig
from training.run import Evaluation, Task, train
from training.run_folder import load_checkpoint, open_run, save_checkpoint
from training.schedule import ScheduleConfig
from training.seeding import seed_everything

@dataclass(frozen=True)
class Config:
    run: RunConfig = RunConfig(device="cpu", log_every=1, eval_every=6, checkpoint_every=2)
    schedule: ScheduleConfig = ScheduleConfig(total_steps=6)
    optim: OptimConfig = OptimConfig(lr=0.1, batch_size=2, reference_batch=2)

class Batch:
    ids = ["picture"]
    def to(self, device):
        return self

class Killed(Exception):
    pass

def run(out, dies_at=None):
    seed_everything(0)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 1))
    start, drawn = model[1].weight.tolist(), []
    model[0].register_forward_hook(lambda *call: drawn.append(call[2].tolist()))

    def losses(network, batch):
        if len(drawn) == dies_at:
            raise Killed
        return {"loss": network(torch.ones(1, 8)).square().mean()}

    task = Task(
        model=model,
        batches=lambda step: itertools.repeat(Batch()),
        losses=losses,
        evaluate=lambda: Evaluation(0.0, {"scores": {}}),
        save_weights=lambda path, scores: path.touch(),
        data={},
        network={},
    )
    try:
        with open_run(out, Config(), resume=out.exists()) as folder:
            train(task, Config(), folder)
    except Killed:
        pass
    return {"start": start, "drawn": drawn, "end": model[1].weight.tolist()}

out, said = Path(sys.argv[1]), {}
with process_group(torch.device("cpu")):
    said["whole"] = run(out / "whole")
    said["killed"] = run(out / "killed", 5)  # the last checkpoint is of step 4
    content = load_checkpoint(out / "killed" / "checkpoint.pt")
    said["continued"] = run(out / "killed")
    run(out / "old", 5)
    if is_main():  # as version 0.1.0 wrote it: the state of the first process alone
        save_checkpoint(out / "old" / "checkpoint.pt", {**content, "rng": content["rng"][0]})
    torch.distributed.barrier()
    said["old"] = run(out / "old")
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def runs(in_processes: Callable, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict]]:
    """What both processes say of each run."""
    return in_processes(TRAININGS, tmp_path_factory.mktemp("runs"))


def test_dropout_differs_between_processes(runs: list[dict[str, dict]]):
    first, second = (said["whole"] for said in runs)
    assert first["start"] == second["start"] and first["end"] == second["end"] != first["start"]
    assert len(first["drawn"]) == len(second["drawn"]) == 6
    assert all(a != b for a, b in zip(first["drawn"], second["drawn"], strict=True))


def test_a_continued_run_draws_as_one_never_killed(runs: list[dict[str, dict]]):
    for said in runs:
        whole, killed, continued = (said[name] for name in ("whole", "killed", "continued"))
        assert killed["drawn"] == whole["drawn"][:5]
        assert continued["drawn"] == whole["drawn"][4:]
        assert continued["end"] == whole["end"]


def test_a_checkpoint_with_the_first_state_alone_goes_on(runs: list[dict[str, dict]]):
    first, second = (said["old"]["drawn"] for said in runs)
    assert first == runs[0]["whole"]["drawn"][4:]
    assert second == runs[1]["whole"]["drawn"][:2]  # as at its start, and not as the first process
