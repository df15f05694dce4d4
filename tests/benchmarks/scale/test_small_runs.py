"""The small training is of the set and size it says, and takes steps."""

from pathlib import Path

from benchmarks.scale.small_runs import TINY, small_run
from training.loop import fit


def test_tiny_steps(tmp_path: Path):
    run = small_run(tmp_path, 2, *TINY)
    assert len(run.training) == 200 and len(run.validation) == 100
    assert next(iter(run.batches)).images.shape[0] == 2
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    fit(run.state, run.batches, run.step, 2)
    after = run.model.state_dict()
    assert run.state.step == 2 and any((after[name] != value).any() for name, value in before.items())
