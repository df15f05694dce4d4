"""The pictures of a classifier's training: shown as they were before they were normalised."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.spec import IMAGENET_INPUT, InputSpec
from classification.classifier_pictures import ClassifierPictures, _describe, as_pixels, draw_batch
from classification.config import PretrainConfig
from classification.data.data_sets import DataConfig
from classification.data.labelled_batches import Batch
from classification.data.opened_splits import open_split
from classification.mixing import network_input
from classification.pretrain import pretrain
from training.config import load_config

CAFFE = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
CPU = torch.device("cpu")


@pytest.mark.parametrize("spec", [IMAGENET_INPUT, CAFFE])
def test_pictures_come_back_from_what_the_network_sees(spec: InputSpec):
    images = torch.randint(
        0, 256, (2, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    assert np.array_equal(as_pixels(spec.normalise(images), spec), images.permute(0, 2, 3, 1).numpy())


def test_mixed_pictures_name_both_classes():
    classes = ["cat", "dog", "猫"]
    assert _describe(torch.tensor(2), classes) == "猫"
    assert _describe(torch.tensor([0.25, 0.0, 0.75]), classes) == "0.75 猫 + 0.25 cat"
    assert _describe(torch.tensor([0.0, 1.0, 0.0]), classes) == "dog"


@pytest.mark.parametrize("side", [32, 224])
def test_a_batch_is_a_grid(side: int):
    pixels = np.zeros((40, side, side, 3), dtype=np.uint8)
    grid = draw_batch(pixels, torch.zeros(40, dtype=torch.int64), ["cat"])
    assert 8 * 130 <= grid.width < 9 * 130
    assert grid.size == draw_batch(pixels[:32], torch.zeros(32, dtype=torch.int64), ["cat"]).size


def test_answers_are_green_where_they_are_right(folder_root: Path, tmp_path: Path):
    config = DataConfig(kind="folder", root=str(folder_root), image_size=16, resize=20)
    validation = open_split(config, training=False)

    class AlwaysBee(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.tensor([0.0, 3.0, 0.0]).expand(len(images), -1)

    pictures = ClassifierPictures(tmp_path, open_split(config, training=True), validation)
    model = AlwaysBee().train()
    pictures.keep(model, CPU, "fp32")
    assert model.training
    assert sorted(label for _, label, _, _ in pictures.answers) == [0, 0, 1, 1, 2, 2]
    assert {(best, round(share, 2)) for _, _, best, share in pictures.answers} == {(1, 0.91)}
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0, "lr": 0.1}\n')
    pictures.draw(False)
    grid = np.asarray(Image.open(tmp_path / "validation" / "answers.jpg")).astype(int)
    red, green = (grid[:, :, i] - grid[:, :, 1 - i] > 70 for i in (0, 1))
    assert red.any() and green.any()


def test_the_first_batches_are_what_the_network_is_given(
    folder_root: Path, first_epoch: Callable[..., list[Batch]], tmp_path: Path
):
    config = load_config(
        PretrainConfig,
        None,
        [f"data.root={folder_root}", "data.kind=folder", "data.image_size=8", "data.resize=10"]
        + ["model.name=resnet8_cifar", "schedule.total_steps=4", "mixing.mixup=0.2"],
    )
    training = open_split(config.data, training=True)
    pictures = ClassifierPictures(tmp_path, training, open_split(config.data, training=False))
    batches = first_epoch(folder_root, "folder")
    before = torch.random.get_rng_state()
    passed = list(pictures.of_start(batches, network_input(training, config.mixing, CPU), CPU))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(one is other for one, other in zip(passed, batches, strict=True))
    assert len([*(tmp_path / "batches").iterdir()]) == 3
    assert (tmp_path / "labels.png").is_file()


@pytest.mark.slow
def test_a_run_draws_its_pictures_and_trains_as_without(folder_root: Path, tmp_path: Path):
    options = [f"data.root={folder_root}", "data.kind=folder", "data.image_size=16", "data.resize=20"]
    options += ["model.name=resnet8_cifar", "schedule.total_steps=4", "schedule.warmup_steps=0"]
    options += [
        "optim.batch_size=4",
        "run.eval_every=2",
        "run.log_every=1",
        "run.workers=0",
        "run.device=cpu",
    ]
    metrics = {}
    for name in ("true", "false"):
        pretrain(load_config(PretrainConfig, None, [*options, f"run.pictures={name}"]), tmp_path / name)
        metrics[name] = (tmp_path / name / "metrics.jsonl").read_text()
    assert metrics["true"] == metrics["false"]
    drawn = {path.relative_to(tmp_path / "true").as_posix() for path in (tmp_path / "true").rglob("*.*g")}
    assert drawn == {
        *("curves.png", "labels.png", "validation/answers.jpg"),
        *(f"batches/batch_{number}.jpg" for number in (1, 2, 3)),
    }
    assert [*(tmp_path / "false").rglob("*.*g")] == []
