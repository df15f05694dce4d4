"""Which trainings of some variants run, in what order, and which go on; none takes place here.

That several run at once `tests/pipeline/` shows.
"""

from pathlib import Path
from typing import Any

import pytest

from detection.config import DetectionConfig
from foundation.errors import UserError
from reproduction.detectors import trainings as module
from reproduction.detectors.trainings import train_variants, with_seed

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
