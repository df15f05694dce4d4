"""The command line of the analyses: files, repetition to the byte, what it refuses; lesions of a detector."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from analysis import surface
from analysis.kinds import KINDS as ANALYSES
from backbones import IMAGENET_INPUT, InputSpec, WeightsHeader, create_model, read_weights, save_weights
from backbones.weights.weight_files import read_header
from classification.config import PretrainConfig
from classification.data.opened_splits import open_validation
from classification.data.shapes_folders import CLASSES
from reproduction.analyses.analysis_folder import file_name
from training.config import load_config
from training.loader import Item

SMALL = ["data.image_size=16", "data.resize=16", "run.device=cpu"]
KINDS = {
    "responses": ["responses.pictures=20"],
    "signal": ["signal.pictures=20", "signal.input=normal"],
    "lesion": ["lesion.pictures=30", "lesion.drawn_pictures=10", "lesion.draws=2"],
    "paths": ["paths.samples=10"],
    "gradients": ["gradients.lines=2", "gradients.points=20"],
    "similarity": ["similarity.pictures=20"],
    "surface": ["surface.pictures=20", "surface.points=3"],
    "receptive": ["receptive.pictures=4", "receptive.side=40"],
    "heatmap": ["heatmap.pictures=3"],
}


def write_weights(file: Path, name: str, *, trained_here: bool = True, classes: int = len(CLASSES)) -> Path:
    """Random weights; of a run on Shapes, or as converted from others, without configuration and classes."""
    torch.manual_seed(0)
    model = create_model(name, num_classes=classes)
    header = WeightsHeader(model.name, model.options, IMAGENET_INPUT)
    if trained_here:
        given = [f"model.name={name}", "data.kind=shapes", "schedule.total_steps=1", *SMALL]
        config = asdict(load_config(PretrainConfig, None, given))
        header = WeightsHeader(
            model.name, model.options, IMAGENET_INPUT, config=config, classes=sorted(CLASSES)
        )
    save_weights(file, model.state_dict(), header)
    return file


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "w.safetensors", "resnet8_cifar")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "foreign.safetensors", "resnet20_cifar", trained_here=False)


def content(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize("name", KINDS)
def test_every_analysis_of_two_networks(
    name: str, tool: Callable, weights: Path, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    arguments = ["--weights", weights, foreign, *KINDS[name], *SMALL]
    tool("analyze", name, *arguments, "--out", tmp_path / "one")
    files = {path.name for path in (tmp_path / "one").iterdir()}
    labels = ["resnet8_cifar", "resnet20_cifar"]
    if ANALYSES[name].of_pairs:
        labels.insert(1, "resnet8_cifar and resnet20_cifar")
    arrays = {f"{file_name(label)}.npz" for label in labels}
    assert files == {".lock", "result.json", f"{name}.png", f"{name}.svg"} | arrays
    result = content(tmp_path / "one")
    assert list(result["networks"]) == labels
    assert result["command"].startswith(f"python tools/analyze.py {name} --weights ")
    printed = capsys.readouterr().out
    assert "resnet8_cifar\n" in printed and "sha256" not in printed
    # The same again gives the same bytes.
    tool("analyze", name, *arguments, "--out", tmp_path / "two")
    for file in files - {"result.json"}:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    again = content(tmp_path / "two")
    assert again["networks"] == result["networks"]


def test_what_was_measured_is_kept(
    tool: Callable, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    arguments = ["responses", "--out", tmp_path / "out", *SMALL]
    tool("analyze", *arguments, "--weights", weights, "responses.pictures=20")
    file = tmp_path / "out" / "resnet8_cifar.npz"
    before = file.stat().st_mtime_ns
    other = write_weights(tmp_path / "other.safetensors", "resnet14_cifar")
    tool("analyze", *arguments, "--weights", weights, other, "responses.pictures=20")
    assert file.stat().st_mtime_ns == before
    assert "responses of resnet8_cifar is there already, from the same weights and options" in caplog.text
    assert list(content(tmp_path / "out")["networks"]) == ["resnet8_cifar", "resnet14_cifar"]
    tool("analyze", *arguments, "--weights", weights, "responses.pictures=21")  # something else
    assert int(np.load(file)["pictures"]) == 21


def test_a_killed_surface_goes_on(
    tool: Callable, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def call(out: str) -> Path:
        tool("analyze", "surface", "--weights", weights, *KINDS["surface"], *SMALL, "--out", tmp_path / out)
        return tmp_path / out / "resnet8_cifar.npz"

    def counted(*arguments: Any) -> Tensor:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return score(*arguments)

    score, whole, left = surface.loss_and_errors, call("whole"), 5
    monkeypatch.setattr(surface, "loss_and_errors", counted)
    with pytest.raises(SystemExit, match="130"):
        call("killed")
    (begun,) = (tmp_path / "killed").glob("[!.]*")
    assert re.fullmatch(r"resnet8_cifar\.[0-9a-f]{8}\.unfinished\.npz", begun.name)
    left = 4  # of the nine points
    assert call("killed").read_bytes() == whole.read_bytes()
    assert not begun.exists()


def test_similarity_of_networks_with_their_own_normalisation(tool: Callable, weights: Path, tmp_path: Path):
    # The same network for pixels 0-255 in BGR: its first convolution reversed, its normalisation too.
    state, header = read_weights(weights)
    mean, std = header.input_spec.mean[::-1], header.input_spec.std[::-1]
    spec = InputSpec(tuple(255 * m for m in mean), tuple(255 * s for s in std), order="BGR", range=255.0)
    other = tmp_path / "bgr.safetensors"
    state["conv1.weight"] = state["conv1.weight"].flip(1)
    save_weights(other, state, replace(header, input_spec=spec))
    tool("analyze", "similarity", "--weights", weights, other, *SMALL, "--out", tmp_path / "out")
    names = [f"resnet8_cifar ({stem})" for stem in ("w", "bgr")]
    label = " and ".join(names)
    found = content(tmp_path / "out")["networks"]
    assert list(found) == [names[0], label, names[1]]
    assert found[label]["weights"] == f"{weights} and {other}"
    with np.load(tmp_path / "out" / f"{file_name(label)}.npz") as arrays:
        np.testing.assert_allclose(arrays["similarity"].diagonal(), 1, atol=1e-5)


def test_untrained_twins_and_files_of_one_model(tool: Callable, weights: Path, tmp_path: Path):
    (tmp_path / "b").mkdir()
    other = write_weights(tmp_path / "b" / "w.safetensors", "resnet8_cifar")
    out = tmp_path / "out"
    tool("analyze", "responses", "--weights", weights, other, "untrained=true", *SMALL, "--out", out)
    one, two = f"resnet8_cifar ({tmp_path.name}/w)", "resnet8_cifar (b/w)"
    names = [one, f"{one}, untrained", two, f"{two}, untrained"]
    assert list(content(out)["networks"]) == names
    # Two seeds of one run: as much of the paths as tells them apart.
    files = []
    for seed in ("seed0", "seed1"):
        (tmp_path / seed / "run").mkdir(parents=True)
        files.append(write_weights(tmp_path / seed / "run" / "last.safetensors", "resnet8_cifar"))
    tool("analyze", "responses", "--weights", *files, *SMALL, "--out", tmp_path / "seeds")
    names = ["resnet8_cifar (seed0/run/last)", "resnet8_cifar (seed1/run/last)"]
    assert list(content(tmp_path / "seeds")["networks"]) == names
    assert len(list((tmp_path / "seeds").glob("*.npz"))) == 2


def test_the_experiment_on_random_networks(tool: Callable, tmp_path: Path):
    tool("analyze", "gradients", "--out", tmp_path / "out", "seeds=1")
    result = content(tmp_path / "out")
    assert result["options"] == {"seeds": 1} and "feed-forward" in result["networks"]
    assert (tmp_path / "out" / "gradients.svg").is_file()


def test_cifar_pictures_for_a_network_of_others(
    tool: Callable, foreign: Path, cifar_root: Path, tmp_path: Path
):
    # Its own normalisation, and the test pictures where nothing else is said.
    data = ["data.kind=cifar10", f"data.root={cifar_root}"]
    out = tmp_path / "out"
    tool("analyze", "lesion", "--weights", foreign, *data, *KINDS["lesion"], "run.device=cpu", "--out", out)
    assert content(out)["data"]["val_split"] == "test"


def test_what_is_refused(
    refused: Callable, tool: Callable, weights: Path, foreign: Path, tmp_path: Path, data_folder: Path
):
    def message(*arguments: object) -> str:
        return refused("analyze", *arguments, "--out", tmp_path / "out")

    assert "no analysis 'respones'; did you mean 'responses'" in message("respones", "--weights", weights)
    assert "name their files with --weights" in message("lesion")
    assert "the weights do not say what pictures" in message("responses", "--weights", foreign)
    assert "lesion.draw" in message("lesion", "--weights", weights, "lesion.draw=3")
    assert "did you mean 'lesion.draws'" in message("lesion", "--weights", weights, "lesion.draw=3")
    assert "paths.samples=5 belongs to" in message("lesion", "--weights", weights, "paths.samples=5")
    assert "pictures must be positive, got 0" in message(
        "responses", "--weights", weights, "responses.pictures=0"
    )
    assert "from 1 to 3, the number of blocks, got 4" in message(
        "lesion", "--weights", weights, "lesion.deleted=[1,4]"
    )
    assert "unknown block 'res6.0'" in message("lesion", "--weights", weights, "lesion.blocks=[res6.0]")
    assert "points must be odd" in message("surface", "--weights", weights, "surface.points=20")
    assert "raise run.batch_size" in message("similarity", "--weights", weights, "run.batch_size=3")
    assert "w.safetensors twice" in message("responses", "--weights", weights, weights)
    assert "no pairs of blocks of equal shape" in message(
        "lesion", "--weights", weights, "lesion.swapped=[1]"
    )
    assert "unknown key" in message("gradients", "gradients.points=20")
    assert "run.device 'cpuu' is unknown" in message("responses", "--weights", weights, "run.device=cpuu")
    assert "no weights at" in message("responses", "--weights", tmp_path / "absent.safetensors")
    bare = tmp_path / "bare.pth"
    torch.save(create_model("resnet8_cifar").state_dict(), bare)
    assert "convert it with" in message("responses", "--weights", bare, *SMALL)
    plain = write_weights(tmp_path / "p.safetensors", "plain8_cifar")
    assert "no shortcuts" in message("paths", "--weights", plain)
    assert not list((tmp_path / "out").glob("*.npz"))


def test_pictures_that_do_not_fit_are_refused(
    refused: Callable, tool: Callable, weights: Path, foreign: Path, cifar_root: Path, tmp_path: Path
):
    def message(*arguments: object) -> str:
        return refused("analyze", *arguments, "--out", tmp_path / "out")

    folder = tmp_path / "set" / "val" / "only"
    folder.mkdir(parents=True)
    data = ["data.kind=folder", f"data.root={tmp_path / 'set'}", "data.image_size=16", "data.resize=16"]
    assert "only" in message("responses", "--weights", weights, *data)  # a class without pictures
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    assert "10 outputs, the data 1 classes" in message("lesion", "--weights", foreign, *data)
    assert "knows 10 classes, the data has 1" in message("lesion", "--weights", weights, *data)
    assert "there is one" in message("gradients", "--weights", weights, *data)
    tool("analyze", "responses", "--weights", weights, *data, "--out", tmp_path / "out")  # needs no labels
    (tmp_path / "flat" / "val").mkdir(parents=True)
    Image.new("RGB", (16, 16)).save(tmp_path / "flat" / "val" / "a.png")
    data[1] = f"data.root={tmp_path / 'flat'}"
    assert "have no labels" in message("signal", "--weights", weights, *data)
    tool("analyze", "responses", "--weights", weights, *data, "--out", tmp_path / "out")


def test_arrays_of_other_pictures_are_not_kept(tool: Callable, weights: Path, tmp_path: Path):
    data = ["data.kind=folder", f"data.root={tmp_path / 'set'}", "data.image_size=16", "data.resize=16"]
    folder = tmp_path / "set" / "val" / "only"
    folder.mkdir(parents=True)
    stds = []
    for colour in ((255, 0, 0), (0, 255, 0)):  # other pictures at the same place
        Image.new("RGB", (16, 16), colour).save(folder / "a.png")
        tool("analyze", "responses", "--weights", weights, *data, "--out", tmp_path / "out")
        stds.append(content(tmp_path / "out")["networks"]["resnet8_cifar"]["mean_std"])
    assert stds[0] != stds[1]


def test_a_folder_that_cannot_be_made_is_refused(refused: Callable, weights: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "below", "/proc/nowhere"):
        message = refused("analyze", "responses", "--weights", weights, "--out", out)
        assert "choose a folder that can be written" in message


def test_numbered_folders_are_the_numbers_of_the_outputs(tool: Callable, tmp_path: Path):
    # Sorted as text folder 10 stands before 2.
    foreign = write_weights(tmp_path / "twelve.safetensors", "resnet8_cifar", trained_here=False, classes=12)
    for number in range(12):
        (tmp_path / "set" / "val" / str(number)).mkdir(parents=True)
        Image.new("RGB", (16, 16), (20 * number,) * 3).save(tmp_path / "set" / "val" / str(number) / "a.png")
    header = read_header(foreign)
    data = load_config(
        PretrainConfig, None, ["model.name=x", "schedule.total_steps=1", "data.kind=folder"]
    ).data
    config = replace(data, root=str(tmp_path / "set"), image_size=16, resize=16)
    pictures = open_validation(foreign, header, config)
    for index, label in enumerate(pictures.labels.tolist()):
        assert Path(pictures.read([Item(index, 0)]).ids[0]).parent.name == str(label)


def test_lesions_of_a_detector(
    tool: Callable, refused: Callable, tiny_detector: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    detector = tmp_path / "detector"
    small = ["backbone.name=resnet18", "schedule.total_steps=2", "run.eval_every=2"]
    tool("train_det", "--config", "configs/shapes_frcnn_r18.yaml", "--out", detector, *tiny_detector, *small)
    weights = detector / "last.safetensors"
    for out, lesion in (("whole", []), ("without", ["--without", "res2.1", "res5.0", "run.device=cpu"])):
        tool("eval_det", "--weights", weights, *lesion, "--out", tmp_path / out, "--bootstrap", 10)
    assert content(tmp_path / "without")["without"] == ["res2.1", "res5.0"]
    assert "without" not in content(tmp_path / "whole") and "interval" in content(tmp_path / "without")
    whole, without = (
        json.loads((tmp_path / out / "predictions.json").read_text()) for out in ("whole", "without")
    )
    assert whole != without
    assert "unknown block 'res5.7'" in refused("eval_det", "--weights", weights, "--without", "res5.7")
    message = refused(
        "eval_det", "--predictions", "p.json", "--dataset", "coco:a.json", "--without", "res2.0"
    )
    assert "--without belongs to --weights" in message
    message = refused("analyze", "lesion", "--weights", weights, "--out", tmp_path / "out")
    assert (
        "expected a classifier's weights" in message and "found those of a FasterRCNN; what its AP" in message
    )


def test_fields_of_a_detector_and_heat_of_its_detections(
    tool: Callable, refused: Callable, tiny_detector: list[str], tmp_path: Path
):
    detector = tmp_path / "detector"
    small = ["backbone.name=resnet18", "schedule.total_steps=2", "run.eval_every=2"]
    tool("train_det", "--config", "configs/shapes_frcnn_r18.yaml", "--out", detector, *tiny_detector, *small)
    weights, out = detector / "last.safetensors", tmp_path / "fields"
    keys = ["receptive.pictures=1", "receptive.side=96", "run.device=cpu"]
    both = ["--config", "configs/shapes_frcnn_r18.yaml", "--weights", weights]
    tool("analyze", "receptive", *both, *keys, "--out", out)
    assert list(content(out)["networks"]) == ["shapes_frcnn_r18", "detector/last"]
    Image.new("RGB", (64, 48), "teal").save(tmp_path / "a.png")
    explain = [tmp_path / "a.png", "--weights", weights, "--explain", 2, "run.device=cpu"]
    tool("predict", *explain, "--threshold", 0, "--out", tmp_path / "found", "roi.score_threshold=0")
    assert (tmp_path / "found" / "explained" / "a.png.png").is_file()
    for more in (["--tta", "flip"], ["--weights", weights], ["testing.refine=1"]):
        message = refused("predict", *explain, *more, "--out", tmp_path / "none")
        assert "--explain is of one look at a picture by one detector" in message
    message = refused("predict", *explain[:3], "--explain", 0, "--out", tmp_path / "none")
    assert "at least 1 detection" in message


def test_heat_maps_of_pictures_without_labels(
    tool: Callable, refused: Callable, weights: Path, tmp_path: Path
):
    folder = tmp_path / "set" / "val" / "other"  # a class that the network does not know
    folder.mkdir(parents=True)
    Image.new("RGB", (16, 16), "teal").save(folder / "a.png")
    data = ["data.kind=folder", f"data.root={tmp_path / 'set'}", "data.image_size=16", "data.resize=16"]
    tool("analyze", "heatmap", "--weights", weights, *data, "--out", tmp_path / "out")
    assert "right" not in content(tmp_path / "out")["networks"]["resnet8_cifar"]
    message = refused("analyze", "heatmap", "--weights", weights, *data, "heatmap.target=label")
    assert "knows 10 classes, the data has 1" in message
    message = refused("analyze", "heatmap", "--weights", weights, *SMALL, "heatmap.feature=res7")
    assert "unknown feature 'res7'" in message
    message = refused("analyze", "heatmap", "--weights", weights, "--config", "configs/shapes_frcnn_r18.yaml")
    assert "--config is of tools/analyze.py receptive" in message
