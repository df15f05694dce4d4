"""Our networks inside detectron2: backbones for C4, DC5, FPN and RetinaNet, and the head of C4 from conv5_x.

Importing this module registers them. `add_backbone_config` adds their keys to a configuration, and
`set_input` the pixel values their weights need. A LazyConfig calls `ResidualBackbone` and `residual_res5`.
"""

import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Unpack

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, ROI_HEADS_REGISTRY, Backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool, LastLevelP6P7
from detectron2.modeling.roi_heads import Res5ROIHeads
from torch import Tensor, nn

from backbones.build import Norm, create_backbone, create_model, create_trunk_and_head
from backbones.families import Options
from backbones.features import StageHead
from backbones.spec import InputSpec
from backbones.weights.weight_files import read_header
from foundation.errors import OptionError, WeightsError, check_choice

# Grey levels, and a share of the deviation: no more than published values are rounded by.
MEAN_TOLERANCE, STD_TOLERANCE = 0.01, 0.001
logger = logging.getLogger(__name__)


def add_backbone_config(cfg: CfgNode) -> None:
    """Adds the keys MODEL.RESIDUAL.*; to be called before a file is merged that sets them.

    NAME: one of `backbones.list_models()`.
    WEIGHTS: our weight file, or a .pth of torchvision's or timm's names; "" for random values.
    OUT_FEATURES: for `build_residual_backbone`; FPN asks for MODEL.FPN.IN_FEATURES, the C4 head starts behind
        MODEL.ROI_HEADS.IN_FEATURES.
    NORM: "frozen" (detectron2's FrozenBN) or "batch".
    STRIDE_ON, DILATION and the other options of `backbones.build.Options`; None for the network's default.
    How many stages are frozen says detectron2's own MODEL.BACKBONE.FREEZE_AT.
    """
    keys = {"NAME": "resnet50", "WEIGHTS": "", "OUT_FEATURES": ["res4"], "NORM": "frozen"}
    cfg.MODEL.RESIDUAL = CfgNode(keys | {option.upper(): None for option in Options.__annotations__})


def set_input(cfg: CfgNode) -> None:
    """Sets INPUT.FORMAT, MODEL.PIXEL_MEAN and MODEL.PIXEL_STD to what MODEL.RESIDUAL.WEIGHTS was trained on.

    Raises:
        OptionError: the keys were not added.
        WeightsError: the file cannot be read.
    """
    residual = _residual(cfg)
    header = read_header(residual.WEIGHTS) if residual.WEIGHTS else None
    spec = header.input_spec if header else create_model(residual.NAME).input_spec
    cfg.INPUT.FORMAT, cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = pixel_settings(spec).values()


def pixel_settings(spec: InputSpec) -> dict[str, Any]:
    """`input_format`, `pixel_mean` and `pixel_std` of detectron2's detectors, whose pixels are 0-255."""
    mean, std = ([round(value, 4) for value in values] for values in spec.scaled(255.0))
    return {"input_format": spec.order, "pixel_mean": mean, "pixel_std": std}


class ResidualBackbone(Backbone):
    """A feature network of ours as detectron2 wants it.

    It takes pictures of any size: `size_divisibility` stays 0 and `padding_constraints` empty.

    Args:
        name, weights, norm, **options: as in `backbones.create_backbone`.
        out_features: of stem, res2 … res5.
        freeze_at: stages that stay fixed, as MODEL.BACKBONE.FREEZE_AT: 1 the stem, 2 the stem and res2.
        input_format, pixel_mean, pixel_std: of the detector; checked against those of the weights.
    Raises:
        OptionError: as in `create_backbone`; or the weights were trained on other pixels.
        WeightsError: as in `create_backbone`.
    """

    def __init__(
        self,
        name: str,
        *,
        out_features: Sequence[str],
        input_format: str,
        pixel_mean: Sequence[float],
        pixel_std: Sequence[float],
        freeze_at: int = 0,
        weights: str | None = None,
        norm: Norm = "frozen",
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        self.network = create_backbone(
            name,
            out_features=list(out_features),
            frozen_stages=freeze_at,
            weights=weights,
            norm=norm,
            **options,
        )
        if weights:
            _check_pixels(weights, self.network.input_spec, input_format, pixel_mean, pixel_std)
        elif freeze_at or norm == "frozen":
            logger.warning("%s has random values and frozen parts: load a checkpoint, or give weights", name)
        self.network.register_load_state_dict_pre_hook(_refuse_gaps)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) normalised pictures → {name: (N, channels, ⌈H / stride⌉, ⌈W / stride⌉)}."""
        return self.network(images)

    def output_shape(self) -> dict[str, ShapeSpec]:
        specs = self.network.feature_specs.items()
        return {name: ShapeSpec(channels=spec.channels, stride=spec.stride) for name, spec in specs}


def residual_res5(
    name: str,
    *,
    split: str = "res4",
    weights: str | None = None,
    norm: Norm = "frozen",
    **options: Unpack[Options],
) -> StageHead:
    """The stages after the split, for the regions of `Res5ROIHeads`, from the backbone's own weight file.

    Raises:
        OptionError, WeightsError: as in `backbones.create_trunk_and_head`.
    """
    _, head = create_trunk_and_head(name, split=split, weights=weights, norm=norm, **options)
    head.register_load_state_dict_pre_hook(_refuse_gaps)
    return head


@BACKBONE_REGISTRY.register()
def build_residual_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResidualBackbone:
    """Backbone of C4 (features res4) and DC5 (features res5, dilated): MODEL.RESIDUAL.OUT_FEATURES."""
    return _build_backbone(cfg, input_shape, _residual(cfg).OUT_FEATURES)


@BACKBONE_REGISTRY.register()
def build_residual_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """detectron2's FPN with its p6, on the stages in MODEL.FPN.IN_FEATURES."""
    return _build_fpn(cfg, input_shape, p7=False)


@BACKBONE_REGISTRY.register()
def build_residual_retinanet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """detectron2's FPN with convolved p6 and p7, for RetinaNet and FCOS, on MODEL.FPN.IN_FEATURES.

    As in RetinaNet (Lin et al. 2017, "Focal loss") p6 is made of the last of these stages, not of p5.
    """
    return _build_fpn(cfg, input_shape, p7=True)


def _build_fpn(cfg: CfgNode, input_shape: ShapeSpec, *, p7: bool) -> FPN:
    stages, channels = cfg.MODEL.FPN.IN_FEATURES, cfg.MODEL.FPN.OUT_CHANNELS
    bottom_up = _build_backbone(cfg, input_shape, stages)
    shapes = bottom_up.output_shape()
    strides = {name: shapes[name].stride for name in stages}
    if any(below != 2 * above for above, below in pairwise(strides.values())):
        raise OptionError(
            f"in FPN every stage must halve the one before, got the strides {strides}; give neighbouring "
            "stages in MODEL.FPN.IN_FEATURES, in order, and no MODEL.RESIDUAL.DILATION"
        )
    last = stages[-1]
    return FPN(
        bottom_up=bottom_up,
        in_features=stages,
        out_channels=channels,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelP6P7(shapes[last].channels, channels, last) if p7 else LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@ROI_HEADS_REGISTRY.register()
class ResidualRes5ROIHeads(Res5ROIHeads):
    """detectron2's C4 heads with our conv5_x per region, of any depth (He et al. 2015, appendix A).

    Their own build a bottleneck stage of 1024 → 2048 channels whatever the backbone.
    """

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        feature = cfg.MODEL.ROI_HEADS.IN_FEATURES[0]
        check_choice("MODEL.ROI_HEADS.IN_FEATURES", feature, input_shape)
        arguments = super().from_config(cfg, input_shape)
        head = arguments["res5"]
        if input_shape[feature].channels != head.in_channels:
            raise OptionError(
                f"the backbone's {feature} has {input_shape[feature].channels} channels, the rest of "
                f"{head.name} takes {head.in_channels}; set MODEL.BACKBONE.NAME to build_residual_backbone"
            )
        return arguments

    @classmethod
    def _build_res5_block(cls, cfg: CfgNode) -> tuple[StageHead, int]:
        head = residual_res5(split=cfg.MODEL.ROI_HEADS.IN_FEATURES[0], **_arguments(cfg))
        (spec,) = head.feature_specs.values()
        return head, spec.channels


def _build_backbone(cfg: CfgNode, input_shape: ShapeSpec, out_features: Sequence[str]) -> ResidualBackbone:
    if input_shape.channels != 3:
        raise OptionError(
            f"MODEL.PIXEL_MEAN must have 3 values, got {input_shape.channels}: pictures are in colour"
        )
    return ResidualBackbone(
        out_features=out_features,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        input_format=cfg.INPUT.FORMAT,
        pixel_mean=cfg.MODEL.PIXEL_MEAN,
        pixel_std=cfg.MODEL.PIXEL_STD,
        **_arguments(cfg),
    )


def _residual(cfg: CfgNode) -> CfgNode:
    if "RESIDUAL" not in cfg.MODEL:
        raise OptionError(
            "no keys MODEL.RESIDUAL.*; call add_backbone_config(cfg) before cfg.merge_from_file(...)"
        )
    return cfg.MODEL.RESIDUAL


def _arguments(cfg: CfgNode) -> dict[str, Any]:
    """The keywords that `ResidualBackbone` and `residual_res5` have in common."""
    residual = _residual(cfg)
    options = {option: residual[option.upper()] for option in Options.__annotations__}
    return {
        "name": residual.NAME,
        "weights": residual.WEIGHTS or None,
        "norm": residual.NORM,
        **{option: value for option, value in options.items() if value is not None},
    }


def _check_pixels(
    weights: str, spec: InputSpec, input_format: str, pixel_mean: Sequence[float], pixel_std: Sequence[float]
) -> None:
    """Refuses pixels other than those the weights were trained on, naming the lines that set them right."""
    order, mean, std = pixel_settings(spec).values()
    if (
        input_format == order
        and all(abs(a - b) <= MEAN_TOLERANCE for a, b in zip(pixel_mean, mean, strict=True))
        and all(abs(a / b - 1) <= STD_TOLERANCE for a, b in zip(pixel_std, std, strict=True))
    ):
        return
    raise OptionError(
        f"{weights} was trained on other pixels than this configuration feeds (INPUT.FORMAT {input_format}, "
        f"MODEL.PIXEL_MEAN {list(pixel_mean)}, MODEL.PIXEL_STD {list(pixel_std)}); write into it\n"
        f'INPUT:\n  FORMAT: "{order}"\n'
        f"MODEL:\n  PIXEL_MEAN: {mean}\n  PIXEL_STD: {std}\n"
        "or call set_input(cfg); in a LazyConfig set the model's input_format, pixel_mean and pixel_std, and "
        "the mapper's image_format"
    )


def _refuse_gaps(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before a checkpoint is loaded: every tensor of the module must be there, and no other of its name.

    detectron2's checkpointer removes tensors of another shape before, loads the rest, and only warns.
    """
    own = {prefix + name for name in module.state_dict()}
    given = {name for name in state if name.startswith(prefix)}
    wrong = sorted(name for name in own ^ given if not name.endswith("num_batches_tracked"))
    if wrong:
        some = ", ".join(wrong[:3]) + (", …" if len(wrong) > 3 else "")
        raise WeightsError(
            f"the checkpoint is not of this {module.name}: {len(wrong)} tensors missing, of another shape or "
            f"unknown ({some}). MODEL.WEIGHTS takes checkpoints of the same detector; a backbone's own "
            "weights go into MODEL.RESIDUAL.WEIGHTS"
        )
