"""Residual and plain networks of He et al. 2015: by name, as classifiers or as feature networks."""

from foundation import require_neighbours  # isort: split

from backbones.build import (
    create_backbone,
    create_model,
    create_trunk_and_head,
    load_network,
)
from backbones.families import list_models
from backbones.spec import IMAGENET_INPUT, FeatureSpec, InputSpec
from backbones.weights.weight_files import read_weights, save_weights
from backbones.weights.weight_loading import load_into
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import OptionError, WeightsError

__all__ = [
    "IMAGENET_INPUT",
    "FeatureSpec",
    "InputSpec",
    "OptionError",
    "WeightsError",
    "WeightsHeader",
    "create_backbone",
    "create_model",
    "create_trunk_and_head",
    "list_models",
    "load_into",
    "load_network",
    "read_weights",
    "save_weights",
]

require_neighbours(__name__)
