"""How much of a file and of a network a conversion covers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from backbones.weights.weight_files import listing
from foundation.errors import WeightsError


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
        """Of the values of file and network together, those used."""
        other = sum(_size(shape) for shapes in (self.missing, self.unused) for shape in shapes.values())
        other += sum(_size(shape) for shapes in self.misshapen.values() for shape in shapes)
        used = sum(_size(shape) for shape in self.used.values())
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
            "  give the right --model or --from, or allow each by its name with --allow-missing or "
            "--allow-unexpected (another shape: both)"
        )

    def describe(self) -> str:
        """Few enough lines for a terminal."""
        shapes = [f"{name}: file {file}, network {own}" for name, (file, own) in self.misshapen.items()]
        return "\n".join(
            [
                f"  used: {_counted(self.used)} ({self.percent:.1f} %)",
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


def _counted(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return f"{len(shapes)} tensors, {sum(_size(shape) for shape in shapes.values()):,} values"


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
