"""Every command line on files that are not what it expects: one line, exit status 2 and no traceback."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backbones import WeightsHeader, create_model, save_weights

# {} is the file; what stands before it is the tool and its other arguments.
READ = {
    "configuration": "pretrain --out OUT --config {}.yaml",
    "configuration of a detector": "train_det --out OUT --config {}.yaml",
    "configuration to examine": "doctor --config {}.yaml",
    "pictures in folders": "pretrain --out OUT data.kind=folder data.root={}",
    "shards": "pretrain --out OUT data.kind=shards data.root={}",
    "set of VOC": "train_det --out OUT data.kind=voc data.root={} data.train=2007:train",
    "results": "eval_det --dataset coco:{}.json --predictions {}.json",
    "results of VOC": "eval_det --dataset voc:{}:train --predictions {}.json",
    "weights of a detector": "eval_det --weights {}.safetensors",
    "weights of a classifier": "eval_cls --weights {}.safetensors",
    "scores": "eval_cls --ensemble {}.npz {}.npz",
    "labels": "eval_cls --weights WEIGHTS --labels {}.json data.kind=folder data.root=.",
    "weights to predict by": "predict . --out OUT --weights {}.safetensors",
    "weights to analyse": "analyze responses --out OUT --weights {}.safetensors",
    "weights to export": "export {}.safetensors OUT.onnx",
    "torch": "convert_weights {}.pth OUT.safetensors",
    "pickle": "convert_weights {}.pkl OUT.safetensors",
    "Caffe": "convert_weights {}.caffemodel OUT.safetensors",
    "safetensors": "convert_weights {}.safetensors OUT.safetensors",
    "mean": "convert_weights WEIGHTS OUT.safetensors --mean {}.binaryproto",
    "folders to pack": "make_shards {} --out OUT",
    "weights to transfer": "transfer --out OUT --weights {}.safetensors",
}
SUFFIXES = ("", ".yaml", ".json", ".safetensors", ".npz", ".pth", ".pkl", ".caffemodel", ".binaryproto")
CONTENTS = {
    "empty": b"",
    "binary": bytes(range(256)) * 8,
    "text": b"hello\n",
    "nested": b"[" * 100_000,
    "digits": b"[" + b"9" * 5000 + b"]",
    "tag": b"!!python/name:os.system",
    "list": b"[1, 1e400]",
}
WRITE = {
    "weights": "convert_weights WEIGHTS {}",
    "export": "export WEIGHTS {}.onnx",
    "run": "pretrain --out {}",
    "shards": "make_shards SET --splits train --out {}",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Path:
    """A working folder with `WEIGHTS` of a classifier."""
    folder = tmp_path_factory.mktemp("place")
    network = create_model("resnet8_cifar", num_classes=10)
    header = WeightsHeader("resnet8_cifar", network.options, network.input_spec)
    save_weights(folder / "weights.safetensors", network.state_dict(), header)
    shutil.copytree(data_folder / "coco" / "train", folder / "set" / "train" / "a")
    return folder


def arguments(line: str, place: Path, path: Path) -> list[str]:
    line = line.replace("WEIGHTS", str(place / "weights.safetensors")).replace("SET", str(place / "set"))
    words = [word.replace("OUT", str(path.parent / "out")) for word in line.split()]
    return [word.replace("{}", str(path)) for word in words]


@pytest.mark.parametrize("line", READ.values(), ids=READ)
@pytest.mark.parametrize("kind", ["missing", "folder", "long", "no text", *CONTENTS])
def test_files_to_read(refused: Callable[..., str], place: Path, tmp_path: Path, kind: str, line: str):
    names = {"long": "x" * 300, "no text": os.fsdecode(b"\xff")}
    path = tmp_path / names.get(kind, "x")
    for suffix in SUFFIXES:
        if kind == "folder":
            Path(f"{path}{suffix}").mkdir()
        elif kind in CONTENTS:
            Path(f"{path}{suffix}").write_bytes(CONTENTS[kind])
    message = refused(*arguments(line, place, path))
    assert "\x1b" not in message and "\udcff" not in message


@pytest.mark.parametrize("line", WRITE.values(), ids=WRITE)
@pytest.mark.parametrize("kind", ["below a file", "long"])
def test_files_to_write(refused: Callable[..., str], place: Path, tmp_path: Path, kind: str, line: str):
    (tmp_path / "file").write_bytes(b"x")
    path = tmp_path / ("file/x" if kind == "below a file" else "y" * 300)
    message = refused(*arguments(line, place, path))
    assert str(tmp_path) in message and (tmp_path / "file").read_bytes() == b"x"


def test_folders_of_results_are_made(tool: Callable[..., None], place: Path, tmp_path: Path):
    target = tmp_path / "weights" / "of" / "mine.safetensors"
    tool("convert_weights", place / "weights.safetensors", target)
    tool("export", target, tmp_path / "exported" / "x.pt2")
    assert target.is_file() and (tmp_path / "exported" / "x.pt2").is_file()
