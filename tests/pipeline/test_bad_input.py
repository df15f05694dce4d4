"""What users get wrong: each a one-screen message with value, expectation and remedy, and exit status 2."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from backbones import WeightsHeader, create_model, save_weights

SHAPES = ["--config", Path(__file__).resolve().parents[2] / "configs" / "shapes_frcnn_r18.yaml"]


@pytest.fixture(scope="session")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a ResNet-18."""
    torch.manual_seed(0)
    network, file = create_model("resnet18"), tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    save_weights(file, network.state_dict(), WeightsHeader("resnet18", network.options, network.input_spec))
    return file


@pytest.fixture
def own_coco(data_folder: Path, tmp_path: Path) -> Path:
    """A copy of the small COCO set, to break."""
    return Path(shutil.copytree(data_folder / "coco", tmp_path / "coco"))


def break_annotation(coco: Path, **values: object) -> None:
    """Changes the first object of the training set."""
    file = coco / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0].update(values)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("optim.lrr=0.1", ["optim.lrr", "did you mean 'optim.lr'"]),
        ("optim.lr=fast", ["optim.lr", "expected a valid number", "'fast'"]),
        ("model.name=resnet19", ["'resnet19'", "did you mean 'resnet1"]),
        ("model.name=resnet21_cifar", ["6n+2", "21"]),
        ("run.device=cuda", ["cuda", "run.device=cpu"]),
        ("optim.accumulate=3", ["batch_size 8", "3 micro-batches"]),
        ("model.weights=nowhere.safetensors", ["nowhere.safetensors", "no weights at"]),
        ("model.unit=scled", ["model.unit", "'scaled'", "'scled'"]),
        ("model.gate_bias=-3", ["gate_bias belongs to unit='exclusive_gating'", "leave out gate_bias=-3"]),
        ("blocks.kept=99", ["blocks.kept must be at most 3", "99"]),
        ("blocks.survival=2", ["survival must be from 0 to 1, got 2"]),
    ],
)
def test_wrong_values_of_pretraining(
    refused: Callable, tiny_classifier: list[str], tmp_path: Path, override: str, parts: list[str]
):
    if override == "run.device=cuda" and torch.cuda.is_available():
        pytest.skip("here is a GPU")
    message = refused("pretrain", "--out", tmp_path / "run", *tiny_classifier, override)
    assert [part for part in parts if part not in message] == []


def test_missing_configuration(refused: Callable, tmp_path: Path):
    message = refused("pretrain", "--config", tmp_path / "none.yaml")
    assert str(tmp_path / "none.yaml") in message and "see configs/" in message


@pytest.mark.parametrize(
    ("tool_name", "config", "parts"),
    [
        ("pretrain", "cifar10_r20", ["cifar-10-batches-py", "cifar-10-python.tar.gz", "DATA_ROOT"]),
        ("pretrain", "imagenet_r50", ["imagenet/train", "one folder of pictures per class", "DATA_ROOT"]),
        ("train_det", "coco_frcnn_r101", ["coco/annotations/instances_train2014.json", "cocodataset.org"]),
        ("train_det", "voc07_frcnn_r50", ["VOCdevkit/VOC2007", "host.robots.ox.ac.uk"]),
    ],
)
def test_missing_data_says_where_it_looked(
    refused: Callable,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tool_name: str,
    config: str,
    parts: list[str],
):
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    message = refused(tool_name, "--config", root / "configs" / f"{config}.yaml", "--out", tmp_path / "run")
    assert [part for part in [str(tmp_path), *parts] if part not in message] == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "tiny", "key", "module"),
    [
        ("pretrain", "tiny_classifier", "model.weights", "classification.pretrain"),
        ("train_seg", "tiny_segmenter", "model.weights", "segmentation.segmenter_training"),
        ("train_seg", "tiny_segmenter", "model.backbone_weights", "segmentation.segmenter_training"),
        ("train_loc", "tiny_localizer", "backbone.weights", "detection.localization.localization_training"),
        ("train_det", "tiny_detector", "backbone.weights", "detection.train"),
    ],
)
def test_missing_weights_are_told_before_the_pictures_are_read(
    refused: Callable,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    tiny: str,
    key: str,
    module: str,
):
    monkeypatch.setattr(f"{module}.read_once", lambda *_, **__: pytest.fail("pictures were read"))
    options = [*request.getfixturevalue(tiny), f"{key}=none.pth"]
    assert "no weights at" in refused(name, "--out", tmp_path / "run", *options)


def test_missing_weights(refused: Callable, tiny_detector: list[str], tmp_path: Path):
    options = [*tiny_detector, "backbone.weights=weights/none.safetensors", "backbone.norm=frozen"]
    assert "weights/none.safetensors" in refused("train_det", "--out", tmp_path / "run", *options)


def test_weights_by_name(
    tool: Callable,
    refused: Callable,
    tiny_detector: list[str],
    tmp_path: Path,
    publisher,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Without network: one line says where the file goes; put there, it trains."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing leaves this machine
    options = [*tiny_detector, "backbone.name=resnet18", "backbone.weights=timm/resnet18.a1_in1k"]
    with caplog.at_level(logging.INFO):
        message = refused("train_det", "--out", tmp_path / "run", *options)
    assert "downloading" in caplog.text and "reading all" not in caplog.text
    url = "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    place = publisher.cache / "downloads/huggingface.co/timm/resnet18.a1_in1k/model.safetensors"
    by_hand = f"without network, put that file at {place} by hand"
    assert message == f"error: {url} was not downloaded (Connection refused); {by_hand}\n"
    save_file(create_model("resnet18").state_dict(), place)
    tool("train_det", "--out", tmp_path / "run", "--overwrite", *options, "schedule.total_steps=1")
    stated = (tmp_path / "run" / "config.yaml").read_text()
    assert "weights: timm/resnet18.a1_in1k" in stated
    options[-1] = "backbone.weights=msra/resnet"
    misspelt = refused("train_det", "--out", tmp_path / "other", *options)
    assert "unknown weights 'msra/resnet'; did you mean 'msra/resnet50'?" in misspelt


def test_weights_of_another_network(
    refused: Callable, tiny_detector: list[str], resnet18: Path, tmp_path: Path
):
    options = [*tiny_detector, f"backbone.weights={resnet18}", "backbone.name=resnet34"]
    message = refused("train_det", "--out", tmp_path / "run", *options)
    assert str(resnet18) in message and "resnet18" in message and "resnet34" in message


def test_tensors_of_another_shape(
    refused: Callable, tiny_detector: list[str], resnet18: Path, tmp_path: Path
):
    state = create_model("resnet18").state_dict() | {"conv1.weight": torch.zeros(64, 3, 3, 3)}
    torch.save(state, tmp_path / "other.pth")
    options = [*tiny_detector, f"backbone.weights={tmp_path / 'other.pth'}"]
    message = refused("train_det", "--out", tmp_path / "run", *options)
    assert "conv1.weight: file (64, 3, 3, 3), network (64, 3, 7, 7)" in message


def test_nothing_to_freeze(refused: Callable, tiny_detector: list[str], tmp_path: Path):
    message = refused("train_det", "--out", tmp_path / "run", *tiny_detector, "backbone.norm=frozen")
    assert "nothing worth freezing" in message and "backbone.norm=batch" in message


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"category_id": 99}, ["annotation 1:", "category_id 99"]),
        ({"image_id": 99999}, ["annotation 1:", "image_id 99999"]),
        ({"bbox": [5, 5, -3, 4]}, ["annotation 1:", "[5, 5, -3, 4]"]),
    ],
)
def test_wrong_annotations(
    refused: Callable,
    tiny_detector: list[str],
    own_coco: Path,
    tmp_path: Path,
    values: dict,
    parts: list[str],
):
    break_annotation(own_coco, **values)
    message = refused(
        "train_det", *SHAPES, "--out", tmp_path / "run", *tiny_detector, f"data.root={own_coco}"
    )
    assert [part for part in ["instances_train.json", *parts] if part not in message] == []


def test_a_box_without_area_is_left_out(
    tool: Callable, tiny_detector: list[str], own_coco: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    break_annotation(own_coco, bbox=[5, 5, 0, 4])
    options = [*tiny_detector, f"data.root={own_coco}", "schedule.total_steps=1"]
    tool("train_det", *SHAPES, "--out", tmp_path / "run", *options)
    assert (
        "1 of" in caplog.text
        and "boxes have no area inside their picture: scored, but not trained" in caplog.text
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0 no picture"])
def test_broken_picture(
    refused: Callable, tiny_detector: list[str], own_coco: Path, tmp_path: Path, content: bytes, workers: int
):
    for picture in (own_coco / "train").iterdir():
        picture.write_bytes(content)
    options = [*tiny_detector, f"data.root={own_coco}", f"run.workers={workers}"]
    message = refused("train_det", *SHAPES, "--out", tmp_path / "run", *options)
    assert str(own_coco / "train") in message
    assert ("is empty" if not content else "cannot be read as a picture") in message


def test_a_run_is_not_overwritten(
    refused: Callable, tool: Callable, tiny_classifier: list[str], tmp_path: Path
):
    options = [*tiny_classifier, "schedule.total_steps=1", "optim.lr=0.1"]
    tool("pretrain", "--out", tmp_path / "run", *options)
    before = (tmp_path / "run" / "last.safetensors").read_bytes()
    assert "--resume" in refused("pretrain", "--out", tmp_path / "run", *options)
    changed = refused("pretrain", "--out", tmp_path / "run", *options, "--resume", "optim.lr=7")
    assert "optim.lr: 0.1 before, 7.0 now" in changed
    assert "no run to continue" in refused("pretrain", "--out", tmp_path / "other", *options, "--resume")
    assert (tmp_path / "run" / "last.safetensors").read_bytes() == before


def test_a_full_disk_keeps_what_was_computed(
    refused: Callable,
    tool: Callable,
    tiny_classifier: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    reference, run = tmp_path / "reference", tmp_path / "run"
    tool("pretrain", "--out", reference, *tiny_classifier)
    write, calls = Path.write_bytes, []

    def second_fails(path: Path, data: bytes) -> int:
        calls.extend([path] if "checkpoint.pt" in path.name else [])
        if len(calls) == 2:
            raise OSError(28, "No space left on device", str(path))
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", second_fails)
        message = refused("pretrain", "--out", run, *tiny_classifier)
    assert "no space left" in message and "--resume" in message and "checkpoint.pt" in message
    tool("pretrain", "--out", run, *tiny_classifier, "--resume")
    assert (run / "last.safetensors").read_bytes() == (reference / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--predictions", "none.json", "--dataset", "coco:none.json"], "none.json"),
        (["--predictions", "none.json", "--dataset", "kitti:x"], "'kitti:x'"),
        (["--weights", "none.safetensors"], "no weights at"),
        (["--weights", "none.safetensors", "--dataset", "coco:x"], "data.root=DIR data.val=SPLIT"),
        (["--weights", "none.safetensors", "--method", "area"], "metric=voc07"),
        (["--predictions", "none.json", "--dataset", "coco:x", "run.device=cpu"], "run.device=cpu changes"),
        (["--predictions", "none.json", "--dataset", "coco:x", "--method", "area"], "--method is of VOC AP"),
        (["--weights", "none.safetensors", "--pictures", "x"], "--pictures belongs to --predictions"),
        (["--weights", "none.safetensors", "--report"], "say where with --out DIR"),
        (["--weights", "none.safetensors", "--report", "--out", "x", "--worst", "-1"], "got -1"),
        (["--weights", "none.safetensors", "--bootstrap", "0"], "1 or more resamples, got 0"),
        (["--weights", "none.safetensors", "--tiles", "0"], "such as 800, got 0"),
        (
            ["--weights", "none.safetensors", "--tiles", "800", "--overlap", "1"],
            "below 1, such as 0.2, got 1.0",
        ),
        (["--weights", "none.safetensors", "--tta", "flop"], "unknown 'flop'"),
        (["--weights", "none.safetensors", "--merge", "wbf"], "give tiles or tta"),
        (["--predictions", "a.json", "--dataset", "coco:x", "--merge", "nms"], "--merge joins several"),
        (["--predictions", "a.json", "--dataset", "coco:x", "--tta", "flip"], "--tta belong to --weights"),
    ],
)
def test_wrong_arguments_of_evaluation(refused: Callable, arguments: list[str], part: str):
    assert part in refused("eval_det", *arguments)


def test_weights_of_the_wrong_kind(refused: Callable, resnet18: Path, tmp_path: Path):
    assert "those of a resnet18" in refused("eval_det", "--weights", resnet18)
    message = refused("predict", tmp_path, "--weights", resnet18, "--out", tmp_path / "out")
    assert "expected a detector's weights" in message
