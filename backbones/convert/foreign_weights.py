"""What a foreign file holds, in our names, with what its format alone can say about the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from backbones.spec import InputSpec
from backbones.weights.weight_files import WeightsHeader

# Caffe's pixels with the mean that detectron2 subtracts; times 255 the same as torchvision's, so that the
# first convolution can be rewritten from one to the other.
MSRA_INPUT = InputSpec(mean=(103.53, 116.28, 123.675), std=(1.0, 1.0, 1.0), order="BGR", range=255.0)
INCEPTION_INPUT = InputSpec(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass
class Contents:
    """A file read.

    Attributes:
        state: tensors in our names.
        unused: tensors without a place in our networks, in the file's names.
        originals: our name → the file's, where they differ.
        header: of a file of ours, or of one that we wrote.
        input_spec, stride_on, stem_pool: as certain from the format; None: the file does not say.
        rest_of_detector: names in unused that belong to a detector, beside its backbone.
        note: what users of these weights must know.
    """

    state: dict[str, Tensor]
    unused: dict[str, Tensor] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    header: WeightsHeader | None = None
    input_spec: InputSpec | None = None
    stride_on: str | None = None
    stem_pool: str = "padded"
    rest_of_detector: set[str] = field(default_factory=set)
    note: str = ""


def rename(tensors: Mapping[str, Tensor], our_name: Callable[[str], str | None]) -> Contents:
    """Sorts tensors by our names; those without one, or whose name is taken already, are unused."""
    contents = Contents({})
    for name, tensor in tensors.items():
        ours = our_name(name)
        if ours is None or ours in contents.state:
            contents.unused[name] = tensor
        else:
            contents.state[ours], contents.originals[ours] = tensor, name
    return contents


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without `num_batches_tracked`, which only torch's trainable statistics have and no network needs."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
