"""Stand-ins for the objects that training scripts save beside their weights: options, numbers, histories.

A pickle names a class, and its reader calls what that name stands for. Each name below stands for a class of
this file, which drops whatever it is given. So the weights beside such an object can be read, and nothing of
it is run.
"""

from collections import OrderedDict
from typing import Any


class Dropped:
    """Stands for an object that no reader of weights needs."""

    __slots__ = ()

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class DroppedMapping:
    """Stands for a class derived from dict; a reader of pickles must be able to put items into it."""

    def __new__(cls, *arguments: Any) -> Any:
        return OrderedDict()


_OBJECTS = (
    *("argparse.Namespace", "types.SimpleNamespace"),  # torchvision's references, timm, DINO, MAE
    # NumPy's numbers and arrays: best scores, states of random generators.
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *("numpy.dtype", "numpy.ndarray"),
    # Paths, written on any system by any Python.
    *(
        f"{module}.{pure}{kind}"
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for kind in ("Path", "PosixPath", "WindowsPath")
    ),
    "mmengine.logging.history_buffer.HistoryBuffer",
    *(
        f"{lightning}.callbacks.{module}.{name}"  # old checkpoints of Lightning name states by these classes
        for lightning in ("pytorch_lightning", "lightning.pytorch")
        for module, name in (("model_checkpoint", "ModelCheckpoint"), ("early_stopping", "EarlyStopping"))
    ),
    # Configurations of OmegaConf, and what its nodes and a defaultdict are made with.
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
    "typing.Any",
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("dict", "list", "int", "float")
    ),
)
_MAPPINGS = (
    *(
        "collections.defaultdict",
        "yacs.config.CfgNode",
        "detectron2.config.config.CfgNode",
        "easydict.EasyDict",
    ),
    *(f"{lightning}.utilities.data.AttributeDict" for lightning in ("lightning_fabric", "lightning.fabric")),
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
_CLASSES: tuple[tuple[type, tuple[str, ...]], ...] = ((Dropped, _OBJECTS), (DroppedMapping, _MAPPINGS))
INERT = {name: stand_in for stand_in, names in _CLASSES for name in names}
