"""Training in detectron2 as its train_net.py does it, and the command line before it."""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
from detectron2.modeling import GeneralizedRCNNWithTTA, build_backbone
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

import backbones.adapters.detectron2_training as training
from backbones import OptionError
from foundation.errors import UserError

pytestmark = pytest.mark.detectron2
FPN, RETINANET = "shapes_frcnn_r18_fpn", "shapes_retinanet_r18_fpn"


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, list[str]]]:
    """What would be scored: the model, and the folders of the evaluators."""
    calls: list[tuple[Any, list[str]]] = []

    def test(cfg: Any, model: Any, evaluators: Any = None) -> dict[str, Any]:
        evaluators = evaluators or [training.Trainer.build_evaluator(cfg, name) for name in cfg.DATASETS.TEST]
        calls.append((model, [Path(evaluator._output_dir).name for evaluator in evaluators]))
        return {"bbox": {"AP": 1.0}}

    monkeypatch.setattr(training.Trainer, "test", test)
    return calls


def test_augmented_pictures_are_scored_where_asked(
    random_detector: Callable, coco_scenes: str, evaluated: list, tmp_path: Path
):
    data = ["DATASETS.TEST", (coco_scenes,), "OUTPUT_DIR", str(tmp_path)]
    cfg = random_detector(FPN, *data)
    assert training.train_or_evaluate(cfg, resume=False, eval_only=True) == {"bbox": {"AP": 1.0}}
    cfg.TEST.AUG.ENABLED = True
    results = training.train_or_evaluate(cfg, resume=False, eval_only=True)
    assert results == {"bbox": {"AP": 1.0}, "bbox_TTA": {"AP": 1.0}}
    assert [folders for _, folders in evaluated] == [["inference"], ["inference"], ["inference_TTA"]]
    assert isinstance(evaluated[-1][0], GeneralizedRCNNWithTTA)


def test_augmented_pictures_for_other_detectors_are_refused(random_detector: Callable):
    cfg = random_detector(RETINANET, "TEST.AUG.ENABLED", True)
    with pytest.raises(OptionError, match="augments for GeneralizedRCNN alone, not for RetinaNet; set it to"):
        training.train_or_evaluate(cfg, resume=False, eval_only=False)


def test_expected_results_are_verified(
    random_detector: Callable, coco_scenes: str, evaluated: list, tmp_path: Path
):
    data = ["DATASETS.TEST", (coco_scenes,), "OUTPUT_DIR", str(tmp_path)]
    cfg = random_detector(FPN, *data, "TEST.EXPECTED_RESULTS", [["bbox", "AP", 9.0, 0.5]])
    with pytest.raises(SystemExit):
        training.train_or_evaluate(cfg, resume=False, eval_only=True)


def test_retinanet_is_trained_on_p3_to_p7(random_detector: Callable, coco_scenes: str, tmp_path: Path):
    data = ["DATASETS.TRAIN", (coco_scenes,), "DATASETS.TEST", (), "OUTPUT_DIR", str(tmp_path)]
    cfg = random_detector(RETINANET, *data, "INPUT.MIN_SIZE_TRAIN", (96,), "SOLVER.MAX_ITER", 1)
    training.train_or_evaluate(cfg, resume=False, eval_only=False)
    model = training.Trainer.build_model(cfg)
    shapes = model.backbone.output_shape()
    assert {name: (shape.channels, shape.stride) for name, shape in shapes.items()} == {
        f"p{level}": (64, 2**level) for level in (3, 4, 5, 6, 7)
    }
    assert model.backbone.top_block.p6.in_channels == 512 and model.backbone.top_block.in_feature == "res5"
    assert (tmp_path / "model_final.pth").is_file()


def test_fcos_is_trained_on_p3_to_p7(random_detector: Callable):
    torch.manual_seed(0)
    pyramid = build_backbone(random_detector(RETINANET))
    shapes = list(pyramid.output_shape().values())
    head = FCOSHead(input_shape=shapes, num_classes=10, conv_dims=[64])
    model = FCOS(backbone=pyramid, head=head, num_classes=10, pixel_mean=[0.0] * 3, pixel_std=[1.0] * 3)
    truth = Instances((96, 128), gt_boxes=Boxes(torch.tensor([[8.0, 8.0, 60.0, 50.0]])))
    truth.gt_classes = torch.tensor([3])
    with EventStorage():
        losses = model([{"image": torch.rand(3, 96, 128), "instances": truth}])
    sum(losses.values()).backward()
    for name in ("p6", "p7"):
        assert pyramid.top_block.get_submodule(name).weight.grad.any()
    assert pyramid.bottom_up.network.conv1.weight.grad.any()


def test_the_command_line_reaches_several_machines(root: Path, monkeypatch: pytest.MonkeyPatch):
    spec = importlib.util.spec_from_file_location("tool_detectron2", root / "tools" / "train_detectron2.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    calls: list[tuple[Any, ...]] = []

    def launch(work: Callable, gpus: int, machines: int, rank: int, *, dist_url: str, args: tuple) -> None:
        calls.append((work, gpus, machines, rank, dist_url, type(args[0])))

    monkeypatch.setattr("detectron2.engine.launch", launch)
    options = ["--num-gpus", "8", "--num-machines", "2", "--machine-rank", "1"]
    tool.main(
        tool.parser().parse_args([*options, "--dist-url", "tcp://10.0.0.1:4000", "SOLVER.MAX_ITER", "9"])
    )
    tool.main(tool.parser().parse_args([]))
    assert calls == [
        (tool.work, 8, 2, 1, "tcp://10.0.0.1:4000", argparse.Namespace),
        (tool.work, 1, 1, 0, "auto", argparse.Namespace),
    ]
    with pytest.raises(UserError, match="--num-machines needs --dist-url tcp://<machine 0>:<port>"):
        tool.main(tool.parser().parse_args(options))
