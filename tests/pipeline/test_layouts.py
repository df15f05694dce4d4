"""Sets as people have them, from the folder to a trained and scored detector."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from detection.own_sets.given_sets import write_sets

ROOT = Path(__file__).resolve().parents[2]
EXPORTS = [
    *(("coco", f"coco_dataset/{name}") for name in ("mmdet_coco", "coco_roboflow")),
    *((kind, f"roboflow_dataset/{kind}") for kind in ("coco", "voc", "yolo")),
    *(("yolo", f"yolo_dataset/{name}") for name in ("labels", "annotations", "strict")),
]


@pytest.fixture
def trained(tool: Callable, tiny_detector: list[str]) -> Callable[..., Path]:
    """trained(out, option, …) trains two steps and gives the run folder."""

    def train(out: Path, *options: str) -> Path:
        tiny = [option for option in tiny_detector if not option.startswith(("data.train=", "data.val="))]
        short = ["schedule.total_steps=2", "run.eval_every=2", "run.checkpoint_every=2"]
        config = ("--config", str(ROOT / "configs" / "shapes_frcnn_r18.yaml"))
        tool("train_det", *config, "--out", out, *tiny, *short, *options)
        return out

    return train


@pytest.mark.parametrize(("kind", "folder"), EXPORTS)
def test_exports_train_by_kind_and_root_alone(
    trained: Callable[..., Path], real_data: Path, tmp_path: Path, kind: str, folder: str
):
    root = real_data / "exports" / folder
    if not root.is_dir():
        pytest.skip("no exports")
    out = trained(tmp_path / "run", f"data.kind={kind}", f"data.root={root}")
    assert "AP" in json.loads((out / "result.json").read_text())["scores"]


def same_weights(first: Path, second: Path) -> bool:
    ours, theirs = (load_file(out / "last.safetensors") for out in (first, second))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_written_as_yolo_a_devkit_trains_to_the_same_bits(
    trained: Callable[..., Path], real_data: Path, tmp_path: Path
):
    """Sixteen pictures of VOC 2007, whose difficult objects neither trains on."""
    year, own = real_data / "VOCdevkit" / "VOC2007", tmp_path / "VOCdevkit" / "VOC2007"
    (own / "ImageSets" / "Main").mkdir(parents=True)
    for folder in ("Annotations", "JPEGImages"):
        (own / folder).symlink_to(year / folder)
    names = (year / "ImageSets" / "Main" / "test.txt").read_text().split()
    (own / "ImageSets" / "Main" / "train.txt").write_text("\n".join(sorted(names)[:12]))
    (own / "ImageSets" / "Main" / "val.txt").write_text("\n".join(sorted(names)[12:16]))
    write_sets([f"voc:{own}:train", f"voc:{own}:val"], None, tmp_path / "yolo")
    first = trained(tmp_path / "a", "data.kind=voc", f"data.root={tmp_path / 'VOCdevkit'}")
    second = trained(tmp_path / "b", "data.kind=yolo", f"data.root={tmp_path / 'yolo'}")
    assert same_weights(first, second)


@pytest.mark.slow
def test_written_as_yolo_penn_fudan_trains_to_the_same_bits(
    trained: Callable[..., Path], real_data: Path, tmp_path: Path
):
    root = real_data / "PennFudanPed"
    files = {split: root / "annotations" / f"instances_{split}.json" for split in ("train", "val")}
    write_sets([f"coco:{file}:{root / 'images'}" for file in files.values()], None, tmp_path / "yolo")
    first = trained(tmp_path / "a", "data.kind=coco", f"data.root={root}", "data.short_side=32")
    second = trained(tmp_path / "b", "data.kind=yolo", f"data.root={tmp_path / 'yolo'}", "data.short_side=32")
    assert same_weights(first, second)
