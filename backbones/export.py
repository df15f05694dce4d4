"""Networks for other runtimes: torch.export programs (.pt2) and ONNX files, for any batch and picture size.

A file's metadata say what pictures it takes; `check_export` compares it with the network it came from.
"""

import copy
import importlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import Dim

from backbones.exported_difference import compare_exported
from backbones.features import FeatureNetwork
from backbones.norm import fold_batchnorm
from backbones.spec import Network, scale_and_shift
from foundation.atomic_files import write_bytes
from foundation.errors import OptionError, check_choice

Pixels = Literal["normalised", "float32", "uint8"]
METADATA_KEY = "residual_backbones"
TRACED = (2, 3, 64, 96)
# Batches and sizes unlike the traced one, some of them odd, to show whatever tracing has fixed.
SHAPES = ((1, 3, 64, 64), (3, 3, 75, 91), (1, 3, 160, 128))
SUFFIXES = (".onnx", ".pt2")
_AXES = {0: "batch", 2: "height", 3: "width"}


class Exported(nn.Module):
    """What goes into a file: a copy of a network in eval mode, if asked for with normalisation in front.

    Args:
        network: a classifier or a feature network.
        pixels: "normalised" takes what the network takes; "float32" and "uint8" take RGB in 0-255.
        fold: folds batch normalisation into the convolutions.

    Attributes:
        outputs: names of what it returns, logits or features.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: Network | FeatureNetwork, *, pixels: Pixels, fold: bool) -> None:
        super().__init__()
        check_choice("kind of pixels", pixels, get_args(Pixels))
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        if fold:
            self.network = fold_batchnorm(self.network)
        self.outputs = list(network.feature_specs) if isinstance(network, FeatureNetwork) else ["logits"]
        self.pixels, self.reverse = pixels, network.input_spec.order == "BGR"
        for name, value in zip(
            ("scale", "shift"), scale_and_shift(network.input_spec, torch.device("cpu")), strict=True
        ):
            self.register_buffer(name, value.clone())
        self.eval()

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """(N, 3, H, W) pictures → what the network gives."""
        if self.pixels != "normalised":
            images = images.flip(1) if self.reverse else images
            images = torch.addcmul(self.shift, images.to(torch.float32), self.scale)
        return self.network(images)


def example_pictures(pixels: Pixels, shape: Sequence[int]) -> Tensor:
    """Random pictures (N, 3, H, W) of a kind, always the same."""
    generator = torch.Generator().manual_seed(0)
    if pixels == "normalised":
        return torch.randn(*shape, generator=generator)
    pictures = torch.randint(0, 256, tuple(shape), generator=generator, dtype=torch.uint8)
    return pictures if pixels == "uint8" else pictures.float()


def export(
    network: Network | FeatureNetwork,
    path: str | Path,
    *,
    pixels: Pixels = "normalised",
    fold: bool = False,
    classes: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Writes a .onnx or .pt2 file for any batch, height and width.

    Its input is `images`; its outputs are `logits`, or the features by name.

    Args:
        network: a classifier or a feature network, in any mode.
        path: its suffix says which format.
        pixels: "normalised": images are what `network.input_spec` describes; "float32" or "uint8": they are
            RGB in 0-255, and the file normalises them itself.
        fold: fold batch normalisation into the convolutions; the outputs then differ by rounding.
        classes: names of the logits, for the metadata.
        overwrite: replace an existing file.
    Raises:
        OptionError: another suffix or kind of pixels, the file exists, or the packages for ONNX are missing.
    """
    path = free_target(path, overwrite=overwrite)
    module = Exported(network, pixels=pixels, fold=fold)
    metadata = {
        "model": network.name,
        "options": network.options,
        "pixels": pixels,
        "input_spec": asdict(network.input_spec),
        "outputs": module.outputs,
        "classes": list(classes),
    }
    write_exported(module, example_pictures(pixels, TRACED), path, metadata)


def free_target(path: str | Path, *, overwrite: bool) -> Path:
    """The path of a file to be written.

    Raises:
        OptionError: another suffix, or the file exists.
    """
    path = Path(path)
    check_choice("suffix of an exported file", path.suffix, SUFFIXES)
    if path.exists() and not overwrite:
        raise OptionError(f"{path} exists; choose another name, or replace it with --overwrite")
    return path


def write_exported(
    module: nn.Module,
    images: Tensor,
    path: Path,
    metadata: dict[str, Any],
    *,
    decompositions: Mapping[Any, Any] | None = None,
    translations: Mapping[Any, Any] | None = None,
) -> None:
    """Traces a module and writes what its suffix says, with batch, height and width left open.

    Args:
        module: takes pictures alone.
        images: an example.
        metadata: names the module's `outputs`, among others.
        decompositions: what stands in a .pt2 file for operations of ours.
        translations: what stands in an ONNX file for operations that torch cannot translate.
    Raises:
        OptionError: the packages for ONNX are missing.
    """
    if path.suffix == ".pt2":
        shapes, content = {axis: Dim.DYNAMIC for axis in _AXES}, BytesIO()
        program = torch.export.export(module, (images,), dynamic_shapes=(shapes,))
        if decompositions is not None:
            program = program.run_decompositions(dict(decompositions))
        torch.export.save(program, content, extra_files={METADATA_KEY: json.dumps(metadata)})
        write_bytes(path, content.getvalue())
        return
    onnx_package("onnxscript")
    onnx = torch.onnx.export(
        module,
        (images,),
        input_names=["images"],
        output_names=metadata["outputs"],
        dynamic_shapes=(_AXES,),
        dynamo=True,
        verbose=False,
        custom_translation_table=None if translations is None else dict(translations),
    )
    assert onnx is not None  # it is None for a path alone
    onnx.model.metadata_props[METADATA_KEY] = json.dumps(metadata)
    write_bytes(path, onnx.model_proto.SerializeToString())


def onnx_package(name: str) -> ModuleType:
    """A package that only ONNX needs.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise OptionError(f"ONNX needs more ({error}): pip install 'residual-backbones[onnx]'") from error


def check_export(
    network: Network | FeatureNetwork, path: str | Path, *, shapes: Iterable[Sequence[int]] = SHAPES
) -> float:
    """The largest difference of an exported file from the network that it was made of.

    Args:
        network: as given to `export`, which wrote the path.
        shapes: (N, 3, H, W) of random pictures.
    Returns:
        The difference as a part of the output's largest value.
    Raises:
        ExportError: as `compare_exported`.
    """
    run, metadata = open_exported(Path(path))
    module = Exported(network, pixels=metadata["pixels"], fold=False)
    batches = (example_pictures(metadata["pixels"], shape) for shape in shapes)
    return compare_exported(module, run, batches, path=path, kind="network")


def read_metadata(path: str | Path) -> dict[str, Any]:
    """What an exported file says of itself: model, options, pixels, input_spec, outputs, classes."""
    return open_exported(Path(path))[1]


def open_exported(path: Path) -> tuple[Callable[[Tensor], Sequence[Tensor]], dict[str, Any]]:
    """The file as a function, and its metadata."""
    check_choice("suffix of an exported file", path.suffix, SUFFIXES)
    if path.suffix == ".pt2":
        extra = {METADATA_KEY: ""}
        program = torch.export.load(path, extra_files=extra).module()
        return lambda images: _in_a_list(program(images)), json.loads(extra[METADATA_KEY])
    session = onnx_package("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = json.loads(session.get_modelmeta().custom_metadata_map[METADATA_KEY])
    return lambda images: [
        torch.from_numpy(x) for x in session.run(None, {"images": images.numpy()})
    ], metadata


def _in_a_list(outputs: Tensor | dict[str, Tensor]) -> list[Tensor]:
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]
