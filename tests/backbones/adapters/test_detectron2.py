"""Our networks inside detectron2: equal to its own, checked, frozen, saved, loaded and trained there."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from backbones import (
    InputSpec,
    OptionError,
    WeightsError,
    WeightsHeader,
    create_model,
    read_weights,
    save_weights,
)
from backbones.norm import FrozenBatchNorm2d

pytest.importorskip("detectron2", reason="needs detectron2; docs/detectron2.md says how to install it")
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import LazyConfig, get_cfg, instantiate
from detectron2.engine import DefaultTrainer
from detectron2.evaluation import COCOEvaluator
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_backbone, build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from backbones.adapters.detectron2 import (
    ResidualBackbone,
    add_backbone_config,
    pixel_settings,
    residual_res5,
    set_input,
)

pytestmark = pytest.mark.detectron2
CONFIGS = Path(__file__).resolve().parents[3] / "configs" / "detectron2"
BGR = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
C4, FPN, DC5 = "shapes_frcnn_r50_c4", "shapes_frcnn_r18_fpn", "coco_frcnn_r50_dc5"
ALL_STAGES = ["res2", "res3", "res4", "res5"]
PIXELS = {"input_format": "RGB", "pixel_mean": [0.0] * 3, "pixel_std": [1.0] * 3}  # unchecked without weights


def config(name: str, *values: Any) -> Any:
    """A configuration of ours with random weights on the CPU; keys and values in turn change it."""
    cfg = get_cfg()
    add_backbone_config(cfg)
    cfg.merge_from_file(str(CONFIGS / f"{name}.yaml"))
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.RESIDUAL.WEIGHTS", "", *values])
    return cfg


def small(name: str, *values: Any) -> Any:
    """The same with ResNet-18 and trainable normalisation, so that random weights do not explode."""
    changes = [
        "MODEL.RESIDUAL.NAME",
        "resnet18",
        "MODEL.RESIDUAL.NORM",
        "batch",
        "MODEL.BACKBONE.FREEZE_AT",
        0,
    ]
    return config(name, *changes, *values)


@pytest.fixture
def weight_file(randomise_norms) -> Callable[..., Path]:
    def write(folder: Path, name: str = "resnet18", spec: InputSpec | None = None, **options: Any) -> Path:
        network = create_model(name, num_classes=5, **options)
        randomise_norms(network)
        file = folder / f"{name}.safetensors"
        header = WeightsHeader(name, network.options, spec or network.input_spec)
        save_weights(file, network.state_dict(), header)
        return file

    return write


def detectron2_name(name: str) -> str:
    """layer1.0.bn2.bias → res2.0.conv2.norm.bias, and so on."""
    name = re.sub(r"^layer(\d)", lambda found: f"res{int(found[1]) + 1}", name)
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    name = re.sub(r"\bbn(\d)", r"conv\1.norm", name)
    return name if name.startswith("res") else f"stem.{name}"


def detectron2_backbone(
    depth: int, *, stride_in_1x1: bool, dilation: int = 1, freeze_at: int = 0
) -> Backbone:
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
    resnets = cfg.MODEL.RESNETS
    resnets.DEPTH, resnets.NORM, resnets.OUT_FEATURES = depth, "BN", ALL_STAGES
    resnets.STRIDE_IN_1X1, resnets.RES5_DILATION = stride_in_1x1, dilation
    resnets.RES2_OUT_CHANNELS = 64 if depth < 50 else 256
    return BACKBONE_REGISTRY.get("build_resnet_backbone")(cfg, ShapeSpec(channels=3))


@pytest.fixture
def ours_for(randomise_norms) -> Callable[..., ResidualBackbone]:
    """A network of ours with random values, which detectron2's is given too."""

    def build(name: str, theirs: Backbone, **options: Any) -> ResidualBackbone:
        torch.manual_seed(3)
        ours = ResidualBackbone(name, out_features=ALL_STAGES, norm="batch", **PIXELS, **options)
        randomise_norms(ours)
        state = {detectron2_name(key): value.clone() for key, value in ours.network.state_dict().items()}
        theirs.load_state_dict(state, strict=True)
        return ours

    return build


def relative_differences(ours: Backbone, theirs: Backbone, images: Tensor) -> dict[str, float]:
    with torch.no_grad():
        a, b = ours(images), theirs(images)
    assert list(a) == list(b) and all(a[name].shape == b[name].shape for name in a)
    return {name: ((a[name] - b[name]).abs().max() / b[name].abs().max()).item() for name in a}


@pytest.mark.parametrize(("depth", "stride_on"), [(18, "3x3"), (34, "3x3"), (50, "1x1"), (50, "3x3")])
def test_features_equal_detectron2s(depth: int, stride_on: str, ours_for):
    theirs = detectron2_backbone(depth, stride_in_1x1=stride_on == "1x1")
    ours = ours_for(f"resnet{depth}", theirs, stride_on=stride_on)
    assert ours.output_shape() == theirs.output_shape()
    for training in (False, True):  # training moves the statistics, so eval comes first
        ours.train(training), theirs.train(training)
        for size in ((64, 64), (75, 91)):
            differences = relative_differences(ours, theirs, torch.randn(2, 3, *size))
            assert max(differences.values()) < 1e-5, (training, size, differences)


def test_dilated_stage_equals_detectron2s_where_the_stride_was_on_the_1x1(ours_for):
    theirs = detectron2_backbone(50, stride_in_1x1=True, dilation=2)
    ours = ours_for("resnet50", theirs, stride_on="1x1", dilation=("res5",))
    assert ours.output_shape() == theirs.output_shape()
    assert ours.output_shape()["res5"].stride == 16
    differences = relative_differences(ours.eval(), theirs.eval(), torch.randn(1, 3, 75, 91))
    assert max(differences.values()) < 1e-5, differences


def test_dilated_stage_differs_in_its_first_block_where_the_stride_was_on_the_3x3(ours_for):
    """Ours computes what the strided stage computed, at more places; detectron2 dilates one 3x3 more."""
    theirs = detectron2_backbone(50, stride_in_1x1=False, dilation=2)
    ours = ours_for("resnet50", theirs, stride_on="3x3", dilation=("res5",))
    images = torch.randn(1, 3, 75, 91)
    assert relative_differences(ours.eval(), theirs.eval(), images)["res5"] > 1e-3
    first = theirs.res5[0].conv2
    first.dilation = first.padding = (1, 1)
    assert max(relative_differences(ours, theirs, images).values()) < 1e-5


@pytest.mark.parametrize("freeze_at", (0, 1, 2, 5))
def test_freezes_what_detectron2_freezes(freeze_at: int):
    theirs = detectron2_backbone(18, stride_in_1x1=False, freeze_at=freeze_at)
    cfg = small(FPN, "MODEL.BACKBONE.FREEZE_AT", freeze_at)
    ours = build_backbone(cfg).bottom_up.network
    trainable = {detectron2_name(name) for name, value in ours.named_parameters() if value.requires_grad}
    assert trainable == {name for name, value in theirs.named_parameters() if value.requires_grad}
    frozen = [module for module in ours.modules() if isinstance(module, FrozenBatchNorm2d)]
    theirs_frozen = [module for module in theirs.modules() if type(module).__name__ == "FrozenBatchNorm2d"]
    assert len(frozen) == len(theirs_frozen)


def test_is_a_backbone_without_constraints_and_fpn_adds_its_own():
    plain = build_backbone(small(C4))
    assert isinstance(plain, Backbone)
    assert (plain.size_divisibility, plain.padding_constraints) == (0, {})
    assert plain.output_shape() == {"res4": ShapeSpec(channels=256, stride=16)}
    pyramid = build_backbone(small(FPN))
    assert pyramid.size_divisibility == 32
    assert [shape.stride for shape in pyramid.output_shape().values()] == [4, 8, 16, 32, 64]


def pictures(*sizes: tuple[int, int]) -> list[dict[str, Any]]:
    """detectron2's training inputs: pixels 0-255 and one object each."""
    inputs = []
    for height, width in sizes:
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.tensor([[4.0, 6.0, 40.0, 44.0]]))
        instances.gt_classes = torch.tensor([1])
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
        inputs.append({"image": image, "instances": instances, "height": height, "width": width})
    return inputs


FEW_REGIONS = ["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", 8, "MODEL.RPN.POST_NMS_TOPK_TRAIN", 20]


@pytest.mark.parametrize(
    ("name", "network"),
    [(C4, "resnet18"), (C4, "resnet34"), (C4, "resnet50"), (FPN, "resnet18"), (DC5, "resnet18")],
)
def test_trains_and_infers_on_pictures_of_any_size(name: str, network: str):
    torch.manual_seed(0)
    model = build_model(small(name, *FEW_REGIONS, "MODEL.RESIDUAL.NAME", network))
    inputs = pictures((75, 91), (64, 70))
    with EventStorage():
        losses = model(inputs)
    sum(losses.values()).backward()
    assert len(losses) == 4 and all(torch.isfinite(loss) for loss in losses.values())
    assert all(p.grad is not None for p in model.backbone.parameters() if p.requires_grad)
    with torch.no_grad():
        assert len(model.eval()(inputs)) == 2


def test_backbone_and_head_come_from_one_file(tmp_path: Path, weight_file):
    file = weight_file(tmp_path)
    model = build_model(config(C4, "MODEL.RESIDUAL.NAME", "resnet18", "MODEL.RESIDUAL.WEIGHTS", str(file)))
    loaded = {**model.backbone.network.state_dict(), **model.roi_heads.res5.state_dict()}
    expected = {
        name: value
        for name, value in read_weights(file)[0].items()
        if not name.startswith("fc") and not name.endswith("num_batches_tracked")
    }
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_file_of_another_network_is_refused(tmp_path: Path, weight_file):
    file = weight_file(tmp_path)
    with pytest.raises(WeightsError, match="is of resnet18, not of resnet50"):
        build_model(config(C4, "MODEL.RESIDUAL.WEIGHTS", str(file)))


def test_stride_of_the_file_is_checked(tmp_path: Path, weight_file):
    file = weight_file(tmp_path, "resnet50", stride_on="1x1")
    with pytest.raises(WeightsError, match="stride_on='1x1'"):
        build_model(config(C4, "MODEL.RESIDUAL.WEIGHTS", str(file)))
    cfg = config(C4, "MODEL.RESIDUAL.WEIGHTS", str(file), "MODEL.RESIDUAL.STRIDE_ON", "1x1")
    model = build_model(cfg)
    for part, block in ((model.backbone.network, "layer2"), (model.roi_heads.res5, "layer4")):
        assert part.get_submodule(f"{block}.0.conv1").stride == (2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        ["INPUT.FORMAT", "BGR"],
        ["MODEL.PIXEL_MEAN", [103.53, 116.28, 123.675]],
        ["MODEL.PIXEL_MEAN", [0.485, 0.456, 0.406]],
        ["MODEL.PIXEL_STD", [1.0, 1.0, 1.0]],
    ],
)
def test_other_pixels_are_refused_with_the_lines_that_mend_it(wrong: list, tmp_path: Path, weight_file):
    values = ["MODEL.RESIDUAL.NAME", "resnet18", "MODEL.RESIDUAL.WEIGHTS", str(weight_file(tmp_path))]
    build_backbone(config(FPN, *values))
    cfg = config(FPN, *values, *wrong)
    with pytest.raises(OptionError, match="was trained on other pixels") as error:
        build_backbone(cfg)
    lines = str(error.value).split("write into it\n")[1].split("or call")[0]
    (tmp_path / "mend.yaml").write_text(lines)
    cfg.merge_from_file(str(tmp_path / "mend.yaml"))
    build_backbone(cfg)


def test_pixels_of_bgr_weights(tmp_path: Path, weight_file):
    file = weight_file(tmp_path, spec=BGR)
    cfg = config(FPN, "MODEL.RESIDUAL.NAME", "resnet18", "MODEL.RESIDUAL.WEIGHTS", str(file))
    with pytest.raises(OptionError, match='FORMAT: "BGR"'):
        build_backbone(cfg)
    set_input(cfg)
    assert (cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN) == ("BGR", [103.53, 116.28, 123.675])
    model = build_model(cfg)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)  # red, green, blue
    fed = model.preprocess_image([{"image": image.flip(0)}]).tensor
    torch.testing.assert_close(fed, BGR.normalise(image[None]))


def test_set_input_without_a_header_takes_the_networks_own():
    cfg = small(FPN, "INPUT.FORMAT", "BGR", "MODEL.PIXEL_MEAN", [1.0, 2.0, 3.0])
    set_input(cfg)
    image = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    fed = build_model(cfg).preprocess_image([{"image": image}]).tensor
    spec = create_model("resnet18").input_spec
    torch.testing.assert_close(fed, spec.normalise(image[None]))
    assert cfg.INPUT.FORMAT == "RGB"


@pytest.mark.parametrize("name", [C4, FPN])
def test_checkpoint_of_the_whole_model_round_trips(name: str, tmp_path: Path):
    cfg = small(name, "MODEL.BACKBONE.FREEZE_AT", 2)
    saved, loaded = build_model(cfg), build_model(cfg)
    DetectionCheckpointer(saved, str(tmp_path)).save("model")
    DetectionCheckpointer(loaded).load(str(tmp_path / "model.pth"))
    before, after = saved.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    # Frozen normalisation has no counters: neither their absence nor their presence is a gap.
    unfrozen = build_model(small(name))
    DetectionCheckpointer(unfrozen, str(tmp_path)).load(str(tmp_path / "model.pth"))
    DetectionCheckpointer(unfrozen, str(tmp_path)).save("unfrozen")
    DetectionCheckpointer(loaded).load(str(tmp_path / "unfrozen.pth"))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("backbone.network.layer2.0.conv1.weight", lambda state, key: state.pop(key)),
        ("roi_heads.res5.layer4.1.bn2.running_var", lambda state, key: state.pop(key)),
        ("roi_heads.res5.layer4.0.conv1.weight", lambda state, key: state.update({key: torch.zeros(3, 3)})),
        ("backbone.network.stem.weight", lambda state, key: state.update({key: torch.zeros(3)})),
    ],
)
def test_checkpoint_with_gaps_is_refused(part: str, change: Callable, tmp_path: Path):
    model = build_model(small(C4))
    state = model.state_dict()
    change(state, part)
    torch.save({"model": state}, tmp_path / "gaps.pth")
    with pytest.raises(WeightsError, match=f"1 tensors .*{re.escape(part)}"):
        DetectionCheckpointer(model).load(str(tmp_path / "gaps.pth"))


def test_detectron2s_own_weights_are_refused(tmp_path: Path):
    """What MODEL.WEIGHTS holds in most configurations; detectron2 would warn and train random values."""
    state = detectron2_backbone(18, stride_in_1x1=False).state_dict()
    tensors = {name: value.numpy() for name, value in state.items()}
    content = {"model": tensors, "__author__": "test", "matching_heuristics": True}
    (tmp_path / "R-18.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"MODEL\.RESIDUAL\.WEIGHTS"):
        DetectionCheckpointer(build_model(small(FPN))).load(str(tmp_path / "R-18.pkl"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: small(FPN, "MODEL.RESIDUAL.DILATION", ["res5"]), "every stage must halve the one before"),
        (
            lambda: small(FPN, "MODEL.FPN.IN_FEATURES", ["res2", "res4"]),
            "every stage must halve the one before",
        ),
        (
            lambda: small(FPN, "MODEL.FPN.IN_FEATURES", ["res5", "res4"]),
            "every stage must halve the one before",
        ),
        (lambda: small(C4, "MODEL.BACKBONE.NAME", "build_resnet_backbone"), "1024 channels.*takes 256"),
        (
            lambda: small(C4, "MODEL.ROI_HEADS.IN_FEATURES", ["p2"]),
            "unknown MODEL.ROI_HEADS.IN_FEATURES 'p2'",
        ),
        (lambda: small(C4, "MODEL.RESIDUAL.NAME", "resnet5O"), "did you mean 'resnet50'"),
        (lambda: small(C4, "MODEL.RESIDUAL.NORM", "FrozenBN"), "unknown norm 'FrozenBN'"),
        (lambda: small(C4, "MODEL.PIXEL_MEAN", [1.0], "MODEL.PIXEL_STD", [1.0]), "PIXEL_MEAN must have 3"),
    ],
)
def test_impossible_configurations(build: Callable, message: str):
    with pytest.raises(OptionError, match=message):
        build_model(build())


def test_missing_keys_are_explained():
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.NAME = "build_residual_backbone"
    with pytest.raises(OptionError, match="call add_backbone_config"):
        build_backbone(cfg)


def test_random_frozen_networks_are_warned_about(caplog: pytest.LogCaptureFixture):
    build_backbone(small(C4))
    assert not caplog.records
    build_backbone(small(C4, "MODEL.BACKBONE.FREEZE_AT", 1))
    assert "random values and frozen parts" in caplog.text


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_builds(path: Path):
    given = yaml.safe_load(path.read_text())
    assert given["MODEL"]["RESIDUAL"]["WEIGHTS"]
    cfg = config(path.stem)
    assert pixel_settings(create_model("resnet18").input_spec) == {
        "input_format": cfg.INPUT.FORMAT,
        "pixel_mean": list(cfg.MODEL.PIXEL_MEAN),
        "pixel_std": list(cfg.MODEL.PIXEL_STD),
    }
    build_model(cfg)


def test_lazy_configuration_builds(tmp_path: Path, weight_file):
    cfg = LazyConfig.load(str(CONFIGS / "coco_frcnn_r50_c4_lazy.py"))
    cfg.model.backbone.weights = str(weight_file(tmp_path, "resnet50"))
    model = instantiate(cfg.model)
    assert cfg.dataloader.train.mapper.image_format == model.input_format == "RGB"
    network = create_model("resnet50", weights=cfg.model.backbone.weights, num_classes=5)
    assert torch.equal(model.roi_heads.res5.layer4[0].conv1.weight, network.layer4[0].conv1.weight)
    LazyConfig.save(cfg, str(tmp_path / "config.yaml"))
    cfg.model.pixel_std = [1.0, 1.0, 1.0]
    with pytest.raises(OptionError, match="was trained on other pixels"):
        instantiate(cfg.model)


def test_head_alone_keeps_the_files_values(tmp_path: Path, weight_file):
    head = residual_res5("resnet18", weights=str(weight_file(tmp_path)))
    assert head(torch.randn(2, 256, 6, 6)).shape == (2, 512, 3, 3)


@pytest.mark.parametrize("name", [C4, FPN])
def test_default_trainer_trains_saves_resumes_and_evaluates(
    name: str, coco_scenes: str, tmp_path: Path, weight_file
):
    weights = ["MODEL.RESIDUAL.NAME", "resnet18", "MODEL.RESIDUAL.WEIGHTS", str(weight_file(tmp_path))]
    data = ["DATASETS.TRAIN", (coco_scenes,), "DATASETS.TEST", (coco_scenes,), "OUTPUT_DIR", str(tmp_path)]
    size = ["INPUT.MIN_SIZE_TRAIN", (96,), "INPUT.MIN_SIZE_TEST", 96, "SOLVER.BASE_LR", 1e-4]
    cfg = config(name, *weights, *data, *size, "SOLVER.MAX_ITER", 1)
    before = build_model(cfg).state_dict()
    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load()
    trainer.train()
    trained = trainer.model.state_dict()
    changed = {key for key in before if not torch.equal(before[key], trained[key])}
    prefix = "backbone.network" if name == C4 else "backbone.bottom_up.network"
    assert f"{prefix}.layer2.0.conv1.weight" in changed
    fixed = (f"{prefix}.conv1", f"{prefix}.bn1", f"{prefix}.layer1")
    assert not [key for key in changed if key.startswith(fixed) or "running_" in key]

    cfg.SOLVER.MAX_ITER = 2
    resumed = DefaultTrainer(cfg)
    resumed.resume_or_load()
    assert resumed.start_iter == 1
    now = resumed.model.state_dict()
    assert all(torch.equal(now[key], trained[key]) for key in trained)
    resumed.train()
    result = DefaultTrainer.test(cfg, resumed.model, COCOEvaluator(coco_scenes, output_dir=str(tmp_path)))
    assert "AP" in result["bbox"]
