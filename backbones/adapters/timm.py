"""Our networks in timm: importing this module registers them as `rb_<name>`, rb_resnet50 for instance.

The prefix, of residual-backbones, keeps timm's own names what they were.
"""

import copy
import logging
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.layers import create_classifier
from timm.models import adapt_input_conv, build_model_with_cfg, generate_default_cfgs, register_model
from timm.models._features import feature_take_indices
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from backbones.build import create_model
from backbones.families import FAMILIES, Family, Options
from backbones.spec import IMAGENET_INPUT, InputSpec, Network
from backbones.weights.weight_files import read_weights
from foundation.errors import OptionError

logger = logging.getLogger(__name__)
PREFIX = "rb_"
_OUTPUT_STRIDES: dict[int, tuple[str, ...]] = {32: (), 16: ("res5",), 8: ("res4", "res5")}

# What timm's factory hands on to networks, and ours take; the rest goes no further than the factory.
_NETWORK_ARGUMENTS = ("num_classes", "in_chans", "global_pool", "drop_rate")
_FACTORY_ARGUMENTS = (
    *("features_only", "out_indices", "feature_cls", "feature_cfg"),
    *("pretrained_cfg", "pretrained_strict", "pretrained_model_args", "cache_dir"),
)
_OWN_ARGUMENTS = ("weights", "output_stride", "device", "dtype")  # of `_create`
_ARGUMENTS = (*Options.__annotations__, *_NETWORK_ARGUMENTS, *_OWN_ARGUMENTS, *_FACTORY_ARGUMENTS)
_REMEDIES = {
    "bn_eps": "a weight file's header sets it, or set_norm_eps of backbones.norm",
    "drop_path_rate": "these networks drop no residuals; leave it out",
}


class UnknownArgumentError(OptionError, TypeError):
    """An argument that no part takes; a TypeError too, which timm's users expect."""


class TimmNetwork(nn.Module):
    """One of our networks with the interface of timm's; parameter names stay ours, which are torchvision's.

    Args:
        network: its modules are taken over, the classifier too where its size fits.
        num_classes: 0 for none.
        in_chans: other than 3 sums or repeats the weights of the three colours, as timm does.
        global_pool: timm's name of a pooling: "avg", "max", "avgmax", "catavgmax", or "" for none.
        drop_rate: dropout before the classifier.
    """

    conv1: nn.Conv2d
    global_pool: Any
    fc: nn.Module

    def __init__(
        self,
        network: Network,
        *,
        num_classes: int,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.stages: dict[str, list[str]] = {}
        for stage, children in network.stages.items():
            self.stages[stage] = []
            for name in children:
                module = network.get_submodule(name)
                if name in self._modules:  # a ReLU used again: timm runs modules once and in order
                    name, module = f"{stage}_{name}", copy.deepcopy(module)
                self.add_module(name, module)
                self.stages[stage].append(name)
        # What timm's extractors read: the module after which a feature stands.
        self.feature_info = [
            {"num_chs": spec.channels, "reduction": spec.stride, "module": self.stages[stage][-1]}
            for stage, spec in network.feature_specs.items()
        ]
        if in_chans != 3:
            self.conv1.in_channels = in_chans
            self.conv1.weight = nn.Parameter(adapt_input_conv(in_chans, self.conv1.weight.detach()))
        self.in_chans, self.drop_rate, self.grad_checkpointing = in_chans, drop_rate, False
        classifier: Any = network.get_submodule(network.last_layer)
        self.num_features = classifier.in_features
        self.reset_classifier(num_classes, global_pool)
        if isinstance(self.fc, nn.Linear) and self.fc.weight.shape == classifier.weight.shape:
            self.fc = classifier

    def forward_features(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_features, h, w)."""
        for stage in self.stages:
            x = self._run(stage, x)
        return x

    def _run(self, stage: str, x: Tensor) -> Tensor:
        if self.grad_checkpointing and self.training and stage != "stem":
            result: Tensor = checkpoint(self._run_once, stage, x, use_reentrant=False)
            return result
        return self._run_once(stage, x)

    def _run_once(self, stage: str, x: Tensor) -> Tensor:
        for child in self.stages[stage]:
            x = getattr(self, child)(x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The last features → (N, num_classes) logits, or with pre_logits what the classifier reads."""
        x = F.dropout(self.global_pool(x), self.drop_rate, self.training)
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pictures → (N, num_classes) logits."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Chosen features besides the last one, timm's way; `norm` has nothing to do here.

        Raises:
            OptionError: output_fmt is not NCHW.
        """
        if output_fmt != "NCHW":
            raise OptionError(f"features are NCHW, got output_fmt={output_fmt!r}")
        chosen, last = feature_take_indices(len(self.stages), indices)
        maps = []
        for index, stage in enumerate(self.stages):
            if stop_early and index > last:
                break
            x = self._run(stage, x)
            if index in chosen:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Removes the stages behind the last of these features, and the classifier, which then reads nothing.

        Their parameters would get no gradient, which DistributedDataParallel refuses.

        Args:
            indices: of the features, or how many of the last.
            prune_norm: has nothing to do here, as `norm` above.
            prune_head: False keeps the classifier, if no stage is removed.
        Returns:
            The features' indices, none of them negative.
        """
        chosen, last = feature_take_indices(len(self.stages), indices)
        removed = list(self.stages)[last + 1 :]
        for stage in removed:
            for child in self.stages.pop(stage):
                delattr(self, child)
        self.feature_info = self.feature_info[: last + 1]
        if removed:
            self.num_features = self.feature_info[last]["num_chs"]
        if removed or prune_head:
            self.reset_classifier(0, "")
        return chosen

    def get_classifier(self) -> nn.Module:
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new random classifier; the pooling stays unless one is named."""
        pooling = self.global_pool.pool_type if global_pool is None else global_pool
        self.num_classes = num_classes
        head = create_classifier(self.num_features, num_classes, pool_type=pooling)
        self.global_pool, self.fc = (part.to(self.conv1.weight).train(self.training) for part in head)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Saves memory in training by computing the stages, but for the stem, twice.

        As in timm's own networks, running statistics then move twice a step.
        """
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Patterns of parameter names by depth, for rates that fall from layer to layer."""
        return {"stem": r"^(?:conv1|bn1)", "blocks": r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"}


def _create(
    name: str,
    pretrained: bool = False,
    *,
    weights: str | Path | None = None,
    output_stride: int = 32,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    pretrained_cfg_overlay: dict[str, Any] | None = None,
    feature_cfg: dict[str, Any] | None = None,
    **arguments: Any,
) -> nn.Module:
    """What `timm.create_model("rb_" + name, ...)` calls.

    Args:
        weights: one of our files or a .pth of torchvision's names, loaded strictly; its header sets mean,
            deviation and classes of the `pretrained_cfg`. A classifier of another size than num_classes asks
            for is left out, as timm does, with a warning.
        output_stride: 32, or 16 and 8, which dilate.
        device, dtype: where the network is made, and of what its floating-point values are.
        **arguments: of timm's factory and of `TimmNetwork`, and our `Options`.
    Raises:
        UnknownArgumentError: an argument that none of them takes, though other networks of timm may.
    """
    for argument, value in arguments.items():
        if argument not in _ARGUMENTS:
            remedy = _REMEDIES.get(argument, f"leave it out, or choose from {', '.join(_ARGUMENTS)}")
            raise UnknownArgumentError(f"{PREFIX}{name} has no {argument} (got {value!r}); {remedy}")
    options: Any = {name: arguments.pop(name) for name in Options.__annotations__ if name in arguments}
    if output_stride not in _OUTPUT_STRIDES:
        raise OptionError(f"output_stride must be one of {list(_OUTPUT_STRIDES)}, got {output_stride!r}")
    if output_stride != 32:
        options["dilation"] = _OUTPUT_STRIDES[output_stride]
    overlay = dict(pretrained_cfg_overlay or {})
    # The rows of the file's classifier, so that it loads whatever number timm asks for.
    state = {} if weights is None else read_weights(weights)[0]
    num_classes = len(state["fc.weight"]) if "fc.weight" in state else None
    with nullcontext() if device is None else torch.device(device):
        network = create_model(name, weights=weights, num_classes=num_classes, **options).to(dtype=dtype)
    if weights is not None:
        known, asked = network.options["num_classes"], arguments.get("num_classes")
        overlay = _described(network.input_spec, known) | overlay
        if asked not in (None, known):
            logger.warning("%s is for %s classes; the classifier for %s starts anew", weights, known, asked)
    return build_model_with_cfg(
        partial(TimmNetwork, network),
        PREFIX + name,
        pretrained,
        pretrained_cfg_overlay=overlay,
        feature_cfg={"out_indices": tuple(range(len(network.stages))), **(feature_cfg or {})},
        **arguments,
    )


def _described(spec: InputSpec, num_classes: int) -> dict[str, Any]:
    """timm's words for the pictures that a network wants."""
    mean, std = spec.as_unit_rgb()
    return {"mean": mean, "std": std, "num_classes": num_classes}


def _default_cfg(family: Family) -> dict[str, Any]:
    size = family.image_size
    small = size == 32
    return {
        **_described(IMAGENET_INPUT, family.num_classes),
        "input_size": (3, size, size),
        "pool_size": (8, 8) if small else (7, 7),
        "crop_pct": 1.0 if small else 0.875,
        "interpolation": "bilinear",
        "first_conv": "conv1",
        "classifier": "fc",
    }


default_cfgs: dict[str, Any] = {}


def register_networks() -> None:
    """Registers what `backbones.list_models` lists and timm does not know yet.

    VGG and Highway networks are left out: they do not end in pooling and one classifier, which is what
    timm's heads are.
    """
    known = {
        PREFIX + name: family for family in FAMILIES.values() if family.in_timm for name in family.models
    }
    new = {name: family for name, family in known.items() if name not in default_cfgs}
    default_cfgs.update(generate_default_cfgs({name: _default_cfg(family) for name, family in new.items()}))
    for name in new:
        entrypoint: Any = partial(_create, name.removeprefix(PREFIX))
        entrypoint.__name__, entrypoint.__module__ = name, __name__
        globals()[name] = register_model(entrypoint)


register_networks()
