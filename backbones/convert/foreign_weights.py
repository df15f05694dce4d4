"""What a foreign file holds, in our names, and how much of it and of a network have their place."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from backbones.spec import InputSpec
from backbones.weights.weight_loading import listing
from backbones.weights.weights_header import WeightsHeader
from foundation.errors import WeightsError

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
        rest_of_detector: names in unused that belong to a detector or another model around the network.
        folded: names of tensors that are in others of `state` by now; to allow them changes nothing.
        place: keys and prefix below which a checkpoint holds the network.
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
    folded: set[str] = field(default_factory=set)
    place: str = ""
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


@dataclass(frozen=True)
class Coverage:
    """Names by what becomes of them; counters of batch normalisation may be absent on either side.

    Attributes:
        used: name → shape, in our names.
        missing: in the network, not in the file; our names.
        unused: in the file, without a place in the network; the file's names.
        misshapen: in both, in different shapes (the file's and the network's); our names.
    """

    used: dict[str, tuple[int, ...]]
    missing: dict[str, tuple[int, ...]]
    unused: dict[str, tuple[int, ...]]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def percent(self) -> float:
        """The share of the values of file and network together that is used."""
        other = sum(math.prod(shape) for shapes in (self.missing, self.unused) for shape in shapes.values())
        other += sum(math.prod(shape) for shapes in self.misshapen.values() for shape in shapes)
        used = sum(math.prod(shape) for shape in self.used.values())
        return 100 * used / max(used + other, 1)

    def require(
        self, title: str, *, allow_missing: Collection[str], allow_unexpected: Collection[str]
    ) -> None:
        """Refuses what was not allowed by its exact name; a tensor of another shape needs both.

        Args:
            title: what is converted into what, for the message.
        Raises:
            WeightsError: with the report, and the names; or a permission that nothing needs.
        """
        missing = {*self.missing, *self.misshapen}
        unexpected = {*self.unused, *self.misshapen}
        idle = [name for name in allow_missing if name not in missing]
        idle += [name for name in allow_unexpected if name not in unexpected]
        if idle:
            raise WeightsError(
                f"{title}: {idle[0]!r} is allowed, but it is not missing or unused; check its spelling"
            )
        if missing <= set(allow_missing) and unexpected <= set(allow_unexpected):
            return
        raise WeightsError(
            f"{title}: not every tensor has its place\n{self.describe()}\n"
            "  give the right --model or --from, take the backbone alone with --backbone-only, or allow each "
            "by its name with --allow-missing or --allow-unexpected (another shape: both)"
        )

    def describe(self) -> str:
        """The report, in few enough lines for a terminal."""
        values = sum(math.prod(shape) for shape in self.used.values())
        shapes = [f"{name}: file {file}, network {own}" for name, (file, own) in self.misshapen.items()]
        return "\n".join(
            [
                f"  used: {len(self.used)} tensors, {values:,} values ({self.percent:.1f} %)",
                *_section("missing", self.missing),
                *_section("unused", self.unused),
                *listing("of another shape", shapes, most=4),
            ]
        )


def compare(
    state: Mapping[str, Tensor], unused: Mapping[str, Tensor], network: Mapping[str, Tensor]
) -> Coverage:
    """Coverage of a network's state by tensors in our names, and others in a file's names."""
    coverage = Coverage({}, {}, {name: tuple(tensor.shape) for name, tensor in unused.items()}, {})
    for name, tensor in network.items():
        if name in state and state[name].shape != tensor.shape:
            coverage.misshapen[name] = tuple(state[name].shape), tuple(tensor.shape)
        elif name in state:
            coverage.used[name] = tuple(tensor.shape)
        elif not name.endswith("num_batches_tracked"):
            coverage.missing[name] = tuple(tensor.shape)
    return coverage


def _section(title: str, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    lines = listing(title, [f"{name} {shape}" for name, shape in shapes.items()], most=4)
    return lines or [f"  {title}: none"]
