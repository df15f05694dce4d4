"""Every configuration loads, builds its network and begins with a header that says how to run it."""

from pathlib import Path

import pytest
import yaml

from backbones import save_weights
from backbones.weights.published import published_name, stated_header
from classification.config import PretrainConfig
from detection.build import assemble, build_detector, detector_header
from detection.config import BackboneConfig, DetectionConfig
from detection.data.voc_dataset import VOC_CLASSES
from detection.localization.localization_config import LocalizationConfig
from detection.localization.localizer_files import build_localizer
from detection.model.category_maps import CATEGORY_MAPS
from detection.starting_weights import source_detector
from segmentation.build import build_segmenter
from segmentation.config import SegmentationConfig
from training.config import dump_config, load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
# detectron2's own keys; tests/backbones/adapters/test_detectron2.py builds them where it is installed.
FOREIGN = sorted((ROOT / "configs").glob("*/*.yaml"))
FREEZE_NOTHING = {"few_shapes_frcnn_r18_fpn"}  # so that the demo's two starts differ in the weights alone
HEADER = ("python tools/", "Hardware", "Hours", "Expected")


def is_detection(path: Path) -> bool:
    return "backbone" in yaml.safe_load(path.read_text()) and not is_localization(path)


def is_segmentation(path: Path) -> bool:
    return bool({"fcn", "deeplabv3"} & set(path.stem.split("_")))


def is_pretraining(path: Path) -> bool:
    return "backbone" not in yaml.safe_load(path.read_text()) and not is_segmentation(path)


def is_localization(path: Path) -> bool:
    return "loc" in path.stem.split("_")


@pytest.mark.parametrize("path", CONFIGS + FOREIGN, ids=lambda path: path.stem)
def test_header(path: Path):
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert [word for word in HEADER if word.lower() not in header.lower()] == []
    assert path.relative_to(ROOT).as_posix() in header, "the command must name this file"


@pytest.mark.parametrize("path", [p for p in CONFIGS if is_pretraining(p)], ids=lambda path: path.stem)
def test_pretraining_config_builds(path: Path, tmp_path: Path):
    config = load_config(PretrainConfig, path)
    config.model.create(10, weights=None)
    assert reloaded(config, tmp_path) == config


@pytest.mark.parametrize("path", [p for p in CONFIGS if is_detection(p)], ids=lambda path: path.stem)
def test_detection_config_builds(path: Path, tmp_path: Path):
    # The weights a configuration names are not in the repository: the same network, trainable, stands in.
    stand_in = ["backbone.weights=null", "backbone.norm=batch", "backbone.frozen_stages=0"]
    build_detector(load_config(DetectionConfig, path, stand_in), num_classes=3)
    config = load_config(DetectionConfig, path)
    assert config.backbone.weights or config.model.weights
    assert path.stem in FREEZE_NOTHING or config.backbone.norm == BackboneConfig().norm
    assert reloaded(config, tmp_path) == config


@pytest.mark.parametrize("path", [p for p in CONFIGS if is_localization(p)], ids=lambda path: path.stem)
def test_localization_config_builds(path: Path, tmp_path: Path):
    stand_in = ["backbone.weights=null", "backbone.norm=batch", "backbone.frozen_stages=0"]
    build_localizer(load_config(LocalizationConfig, path, stand_in), num_classes=3)
    config = load_config(LocalizationConfig, path)
    assert reloaded(config, tmp_path) == config


@pytest.mark.parametrize("path", [p for p in CONFIGS if is_segmentation(p)], ids=lambda path: path.stem)
def test_segmentation_config_builds(path: Path, tmp_path: Path):
    stand_in = ["model.backbone_weights=null", "model.norm=batch", "model.frozen_stages=0"]
    build_segmenter(load_config(SegmentationConfig, path, stand_in), ["background", "cat", "dog"])
    config = load_config(SegmentationConfig, path)
    assert reloaded(config, tmp_path) == config


GO_ON = [path for path in CONFIGS if is_detection(path) and load_config(DetectionConfig, path).model.weights]


@pytest.mark.parametrize("path", GO_ON, ids=lambda path: path.stem)
def test_a_detector_to_go_on_from_is_of_a_configuration_here(path: Path, tmp_path: Path):
    config = load_config(DetectionConfig, path)
    assert config.model.weights is not None
    file = Path(config.model.weights)
    first = load_config(DetectionConfig, ROOT / "configs" / f"{file.parent.name}.yaml")
    assert (file.parent.parent, file.name) == (Path("runs"), "last.safetensors")
    # Random weights stand in, of the classes that both sets have.
    theirs = sorted(CATEGORY_MAPS[str(config.model.category_map)].values())
    model = assemble(first, len(theirs), weights=None)
    header = detector_header(model, first, theirs, {}, category_ids=range(1, len(theirs) + 1))
    save_weights(tmp_path / "last.safetensors", model.state_dict(), header)
    here = load_config(DetectionConfig, path, [f"model.weights={tmp_path / 'last.safetensors'}"])
    source_detector(str(here.model.weights), here, VOC_CLASSES)
    assert config.testing.refine == 1 and len(config.testing.scales) == 5


def test_published_weights_fit_the_network_that_names_them():
    names = []
    for path in CONFIGS:
        if is_detection(path):
            backbone = load_config(DetectionConfig, path).backbone
            if name := published_name(str(backbone.weights)):
                names.append(name)
                header = stated_header(name)
                assert header.model == backbone.name, path
                assert header.options.get("stride_on", backbone.stride_on) == backbone.stride_on, path
    assert {"msra/resnet50", "msra/resnet101", "torchvision/vgg16.IMAGENET1K_V1"} <= set(names)


def reloaded(config: object, folder: Path) -> object:
    file = folder / "config.yaml"
    file.write_text(dump_config(config))
    return load_config(type(config), file)


def test_recipes_of_detectron2_alone_train_on_difficult_objects():
    """As its own do; the paper's rows and ours leave them out."""
    found = {p.stem: load_config(DetectionConfig, p).data.difficult for p in CONFIGS if is_detection(p)}
    assert {name for name, value in found.items() if value == "train"} == {"voc0712_frcnn_r50_c4_d2"}
