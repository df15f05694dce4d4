"""Entry points for torch.hub: every name of `backbones.list_models()`, and `create_backbone` for features.

torch.hub.load("path/of/this/folder", "resnet50", source="local", weights="r50.safetensors")
"""

import functools

from backbones import create_backbone
from backbones import create_model as _create_model
from backbones import list_models as _list_models

dependencies = ["torch", "torchvision", "safetensors"]
__all__ = ["create_backbone", *_list_models()]

for _name in _list_models():
    # Each name gets the documentation that torch.hub.help prints.
    globals()[_name] = functools.update_wrapper(functools.partial(_create_model, _name), _create_model)
