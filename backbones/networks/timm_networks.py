"""timm's convolutional networks as backbones of our detectors, under the names "timm/<name>"."""

import logging
from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from timm.models import FeatureListNet
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from timm.models.selecsls import SelecSls
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.features import FeatureNetwork, StageHead, freeze_stages
from backbones.norm import FrozenBatchNorm2d, freeze_batchnorm, set_norm_eps
from backbones.spec import FeatureSpec, InputSpec
from backbones.weights.weight_files import read_weights
from backbones.weights.weight_loading import USUAL, load_into
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import OptionError, WeightsError, check_choice

logger = logging.getLogger(__name__)
PREFIX = "timm/"
STAGE_OF_STRIDE = {2: "stem", 4: "res2", 8: "res3", 16: "res4", 32: "res5"}
# timm's extractors that run the network's modules one after the other, so that it can be cut between them.
_SEQUENTIAL = (FeatureListNet, EfficientNetFeatures, MobileNetV3Features)
NO_SEQUENCE = "timm's {} is no sequence of convolutional stages that could be cut; choose another network"


class FrozenBatchNormAct2d(FrozenBatchNorm2d):
    """timm's BatchNormAct2d with fixed statistics and affine part: normalisation, dropout, activation."""

    def __init__(self, norm: BatchNormAct2d) -> None:
        super().__init__(norm.num_features, norm.eps)
        self.drop, self.act = norm.drop, norm.act
        self.copy_from(norm)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(x)))


class TimmBackbone(nn.Module):
    """A network of timm with what FeatureNetwork and StageHead read of ours.

    A feature's name is that of its stride (`STAGE_OF_STRIDE`), of several the last. `body` is the whole
    network, in which the stages name modules; without a feature of stride 2 the stem is empty.

    Args:
        name: "timm/<name>", with a pretrained tag where that tells the input ("timm/resnet50.a1_in1k").
    Raises:
        OptionError: timm has no such network, or it is no sequence of convolutional stages.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        theirs = known_name(name)
        self.name, self.options = name, dict[str, Any]()
        self.body = timm.create_model(theirs)
        self.input_spec = input_of(self.body)
        with torch.device("meta"):  # its structure alone is looked at
            extractor = _extractor(theirs)
        if isinstance(self.body, SelecSls):  # its modules pass lists on
            raise OptionError(NO_SEQUENCE.format(theirs))
        modules, begin = _in_order(extractor, self.body), 0
        self.stages: dict[str, list[str]] = {"stem": []}
        self.feature_specs: dict[str, FeatureSpec] = {}
        # Of several features with one stride the last counts.
        for stride, info in {info["reduction"]: info for info in extractor.feature_info.get_dicts()}.items():
            if stride not in STAGE_OF_STRIDE:
                continue
            stage = STAGE_OF_STRIDE[stride]
            self.feature_specs[stage] = FeatureSpec(info["num_chs"], stride)
            end = modules.index(info["module"]) + 1
            self.stages[stage], begin = [f"body.{module}" for module in modules[begin:end]], end

    def load(self, weights: str | Path) -> None:
        """A file with timm's names, strictly but for the classifier; nothing is downloaded.

        Raises:
            WeightsError: the file cannot be read, or is of another network.
        """
        config: Any = self.body.pretrained_cfg
        classifiers = config["classifier"]
        classifiers = (classifiers,) if isinstance(classifiers, str) else classifiers
        unused = {f"{layer}.{kind}" for layer in classifiers for kind in ("weight", "bias")}
        self.input_spec = load_file(weights, self, self.body, allow_missing=unused, allow_unexpected=unused)


def known_name(name: str) -> str:
    """timm's name of the network "timm/<name>".

    Raises:
        OptionError: timm has no such network.
    """
    theirs = name.removeprefix(PREFIX)
    check_choice("network of timm", theirs, [*timm.list_models(), *timm.list_models(pretrained=True)])
    return theirs


def input_of(network: Any) -> InputSpec:
    """The pictures that a network of timm wants, as its configuration says."""
    config = network.pretrained_cfg
    return InputSpec(mean=tuple(config["mean"]), std=tuple(config["std"]))


def load_file(
    weights: str | Path,
    network: Any,
    body: nn.Module,
    *,
    allow_missing: Collection[str] = (),
    allow_unexpected: Collection[str] = (),
) -> InputSpec:
    """Loads a file with timm's names into `body`, strictly but for the names allowed.

    Returns:
        The pictures of the file's header; without one a warning says that `network.input_spec` is assumed.
    Raises:
        WeightsError: the file cannot be read, or is of another network; tags may differ, and a file of our
            network of the same name serves, unless it was trained with options that timm's does not have.
    """
    state, header = read_weights(weights)
    if header is not None:
        _check_header(weights, header, network.name)
    try:
        load_into(body, state, allow_missing=allow_missing, allow_unexpected=allow_unexpected)
    except WeightsError as error:
        raise WeightsError(f"{weights} → {network.name}: {error}") from error
    if header is None:
        spec: InputSpec = network.input_spec
        logger.warning("%s has no header. Assumed: pictures as %s", weights, spec)
        return spec
    set_norm_eps(body, header.norm_eps)
    return header.input_spec


def _check_header(weights: str | Path, header: WeightsHeader, name: str) -> None:
    theirs, wanted = (text.removeprefix(PREFIX).partition(".")[0] for text in (header.model, name))
    if theirs != wanted:
        raise WeightsError(f"{weights} is of {header.model}, not of {name}; give a file of {name}")
    for option, usual in USUAL.items():  # no tensor's shape shows them
        if (given := header.options.get(option, usual)) != usual:
            raise WeightsError(
                f"{weights} was trained with {option}={given!r}, which {name} does not have; "
                f"take our network, {theirs}, with {option}={given!r}"
            )


def _extractor(name: str) -> Any:
    """timm's own feature extractor, which knows order and places of the features."""
    try:
        extractor = timm.create_model(name, features_only=True)
    except RuntimeError as error:
        raise OptionError(f"timm has no features of {name} ({error}); choose another network") from error
    if not isinstance(extractor, _SEQUENTIAL) or getattr(extractor, "output_fmt", "NCHW") != "NCHW":
        raise OptionError(NO_SEQUENCE.format(name))
    return extractor


def _in_order(extractor: Any, body: Any) -> list[str]:
    """Names in the body of the modules that the extractor runs, in order."""
    if not isinstance(extractor, FeatureListNet):
        return ["conv_stem", "bn1", *(f"blocks.{part}" for part, _ in body.blocks.named_children())]
    names = {}
    for name, child in body.named_children():
        names[name] = name
        for part in dict(child.named_children()) if isinstance(child, nn.Sequential) else ():
            names[f"{name}_{part}"] = f"{name}.{part}"  # the extractor's name for it
    return [names[child] for child in extractor]


def finish(
    network: Any,
    parts: Sequence[FeatureNetwork | StageHead],
    weights: str | Path | None,
    norm: str,
    frozen_stages: int,
) -> None:
    """Loads weights, fixes stages of the first part, and sets the normalisation of all.

    Args:
        network: a `TimmBackbone` or a `TimmTransformer`, of which only the parts are kept.
    Raises:
        OptionError: norm is "sync", and there is no batch normalisation.
    """
    if norm == "sync" and not any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise OptionError(f"{network.name} has no batch normalisation; leave out norm='sync'")
    if weights is not None:
        network.load(weights)
    trunk: Any = parts[0]
    for child in chain.from_iterable(list(trunk.stages.values())[:frozen_stages]):
        trunk.set_submodule(child, _freeze_activated(trunk.get_submodule(child)))
    freeze_stages(trunk, frozen_stages)
    for part in parts:
        part.input_spec = network.input_spec
        if norm == "frozen":
            freeze_batchnorm(_freeze_activated(part))
        elif norm == "sync":
            convert_sync_batchnorm(part)


def _freeze_activated(module: nn.Module) -> nn.Module:
    """Freezes timm's normalisation with activation, whose activation `freeze_batchnorm` does not know."""
    if type(module) is BatchNormAct2d:
        return FrozenBatchNormAct2d(module)
    for name, child in module.named_children():
        setattr(module, name, _freeze_activated(child))
    return module
