"""Two processes under torchrun give what one gives for the same effective batch."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from backbones import WeightsHeader, create_model, save_weights
from backbones.norm import calibrate_batchnorm


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "last.safetensors")


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


def predictions(folder: Path) -> list[dict]:
    return json.loads((folder / "predictions.json").read_text())


@pytest.fixture(scope="module")
def frozen(tiny_detector: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a detector whose normalisation is fixed, so that processes see what one sees."""
    torch.manual_seed(0)
    network = create_model("resnet18")
    calibrate_batchnorm(network, [torch.randn(4, 3, 64, 64)])
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_weights(file, network.state_dict(), WeightsHeader("resnet18", network.options, network.input_spec))
    return [
        *(*tiny_detector, f"backbone.weights={file}", "backbone.norm=frozen", "backbone.frozen_stages=2"),
        *("optim.batch_size=4", "run.workers=0"),
    ]


def test_detection_with_frozen_normalisation(start: Callable, frozen: list[str], tmp_path: Path):
    options = [*frozen, "schedule.total_steps=3", "roi.score_threshold=0.02"]
    # Pictures are grouped by micro-batch, of which one process must have as many as two.
    assert start("train_det", "--out", tmp_path / "one", *options, "optim.accumulate=2").wait() == 0
    assert start("train_det", "--out", tmp_path / "two", *options, processes=2).wait() == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    start_of = load_file(frozen_weights(frozen))
    moved = max(
        (one[f"trunk.{name}"] - value).abs().max().item()
        for name, value in start_of.items()
        if f"trunk.{name}" in one and value.is_floating_point()
    )
    assert moved > 1e-4  # it did train
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=0, atol=1e-6, msg=lambda text, n=name: f"{n}: {text}"
        )
    assert result(tmp_path / "two")["scores"] == pytest.approx(result(tmp_path / "one")["scores"], abs=1e-4)
    found, expected = predictions(tmp_path / "two"), predictions(tmp_path / "one")
    assert len({record["image_id"] for record in expected}) > 2  # of four: more than a process's share
    for name in ("image_id", "category_id"):
        assert [record[name] for record in found] == [record[name] for record in expected]
    for one_record, record in zip(expected, found, strict=True):
        assert record["score"] == pytest.approx(one_record["score"], abs=1e-4)
        assert record["bbox"] == pytest.approx(one_record["bbox"], abs=1e-2)


def test_alternating_training(start: Callable, frozen: list[str], tmp_path: Path):
    """Every process waits until the weights are written that the next step begins with."""
    options = [*frozen, "schedule.total_steps=1", "training=two_stage"]
    out = tmp_path / "run"
    assert start("train_det", "--out", out, *options, processes=2).wait() == 0
    first, last = result(out)["steps"]
    assert (out / first / "result.json").is_file()
    assert (out / "last.safetensors").read_bytes() == (out / last / "last.safetensors").read_bytes()


def frozen_weights(options: list[str]) -> Path:
    (file,) = (text.partition("=")[2] for text in options if text.startswith("backbone.weights=/"))
    return Path(file)


def test_classification(start: Callable, tiny_classifier: list[str], tmp_path: Path):
    # Batch normalisation sees micro-batches of 4 either way, so only the running averages may differ. Within
    # them pictures are mixed, too.
    options = [
        *(*tiny_classifier, "schedule.total_steps=4", "run.workers=0"),
        *("mixing.mixup=0.2", "mixing.cutmix=1", "optim.ema_decay=0.9"),
    ]
    assert start("pretrain", "--out", tmp_path / "one", *options, "optim.accumulate=2").wait() == 0
    assert start("pretrain", "--out", tmp_path / "two", *options, processes=2).wait() == 0
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in [name for name in one if "running" not in name and "num_batches" not in name]:
        torch.testing.assert_close(two[name], one[name], rtol=0, atol=1e-6)
    assert result(tmp_path / "two")["pictures"] == 400
