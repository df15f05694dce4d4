"""Trainings at once end as they would alone."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch

from classification import pretrain as pretraining
from classification.config import ModelConfig, PretrainConfig
from classification.data.cifar10 import Cifar10
from classification.data.data_sets import DataConfig
from classification.pretrain import pretrain, pretrain_together
from foundation.errors import UserError
from training.config import RunConfig
from training.optim import OptimConfig
from training.schedule import ScheduleConfig
from training.seeding import capture_rng, restore_rng

CONFIG = PretrainConfig(
    ModelConfig("resnet8_cifar"),
    DataConfig("cifar10"),
    ScheduleConfig(total_steps=6),
    optim=OptimConfig(batch_size=16, reference_batch=16),
    run=RunConfig(device="cpu", workers=0, log_every=1, eval_every=3, checkpoint_every=2),
)
SEEDS = [replace(CONFIG, run=replace(CONFIG.run, seed=seed)) for seed in range(3)]


@pytest.fixture
def few_pictures(cifar_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Cifar10(cifar_root, "train", train_split="train", training=True)
    generator = torch.Generator().manual_seed(0)
    pictures.images = torch.randint(256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)
    pictures.labels = pictures.labels[:64]
    monkeypatch.setattr(pretraining, "open_split", lambda config, training: pictures)


def test_each_ends_as_alone(few_pictures: None, tmp_path: Path):
    alone = [pretrain(config, tmp_path / f"alone{config.run.seed}") for config in SEEDS]
    together = pretrain_together([(c, tmp_path / f"together{c.run.seed}", False) for c in SEEDS])
    assert together == alone
    assert len({result["scores"]["loss"] for result in together}) == 3
    for seed in range(3):
        for file in ("metrics.jsonl", "last.safetensors"):
            ours, theirs = (tmp_path / f"{kind}{seed}" / file for kind in ("together", "alone"))
            assert ours.read_bytes() == theirs.read_bytes()


def test_one_that_fails_lets_the_others_end(few_pictures: None, tmp_path: Path, caplog):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("not a run")
    runs = [(config, tmp_path / name, False) for config, name in zip(SEEDS, "abc", strict=True)]
    with pytest.raises(UserError, match="b holds files but no run of ours"):
        pretrain_together(runs)
    assert (tmp_path / "a" / "result.json").is_file() and (tmp_path / "c" / "result.json").is_file()
    (problem,) = [record for record in caplog.records if "holds files but no run" in record.getMessage()]
    assert problem.threadName == "b"  # which the log puts before the line


def test_dropout_is_refused(tmp_path: Path):
    config = replace(CONFIG, model=ModelConfig("highway19_cifar"))
    with pytest.raises(UserError, match="highway19_cifar has dropout"):
        pretrain_together([(config, tmp_path, False)])


def test_pictures_from_a_loader_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="need pictures in memory .*, got shapes and 0 workers"):
        pretrain_together([(replace(CONFIG, data=DataConfig("shapes")), tmp_path, False)])
    with pytest.raises(UserError, match="got cifar10 and 2 workers"):
        pretrain_together([(replace(CONFIG, run=replace(CONFIG.run, workers=2)), tmp_path, False)])


def test_a_network_is_drawn_undisturbed_by_one_that_resumes(
    few_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Another thread restores its generators while the network is being built.
    alone = pretrain(CONFIG, tmp_path / "alone")
    other = Thread(target=lambda: restore_rng(state))
    build, state = pretraining.build_classifier, capture_rng()

    def disturbed(config: ModelConfig, pictures: Cifar10, known: None):
        other.start()
        other.join(timeout=0.3)
        return build(config, pictures, known)

    monkeypatch.setattr(pretraining, "build_classifier", disturbed)
    assert pretrain(CONFIG, tmp_path / "disturbed") == alone
    assert not other.is_alive()


def test_several_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="in one process, but torchrun started 2"):
        pretrain_together([(CONFIG, tmp_path, False)])
