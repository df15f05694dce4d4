"""What one sitting of tools/benchmark.py measured, as its JSON file holds it."""

from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.measuring.row_timing import HEADING, Timing
from foundation.atomic_files import write_json
from foundation.errors import UserError, suggest
from foundation.file_reading import read_json
from reproduction.results.provenance import Made, made_here
from reproduction.results.run_records import checked
from reproduction.tables import markdown_table

PEERS = ("torchvision", "timm", "onnxruntime", "pycocotools", "hotcoco", "simplejpeg", "pillow")


@dataclass(frozen=True)
class PartRecord:
    """A part of the benchmark: its rows, what it says after them in Markdown, and the seconds it took."""

    rows: list[Timing]
    notes: list[str]
    set_up: float  # seconds, before the first call of every row and of the notes
    seconds: float  # in all

    def markdown(self) -> str:
        """The table and the notes."""
        table = [markdown_table(HEADING, [row.cells() for row in self.rows], right=range(1, 5))]
        return "\n\n".join([*(table if self.rows else []), *self.notes])

    def named(self, beginning: str) -> list[Timing]:
        """The rows whose names begin so.

        Raises:
            UserError: there is none.
        """
        found = [row for row in self.rows if row.name.startswith(beginning)]
        if not found:
            names = [row.name for row in self.rows]
            raise UserError(f"no row begins with {beginning!r}{suggest(beginning, names)}")
        return found


@dataclass(frozen=True)
class SpeedRecord:
    """A sitting on one machine.

    Attributes:
        versions: of the peers that are installed.
        parts: by their names, as far as they are done.
    """

    made: Made
    threads: int
    versions: dict[str, str]
    parts: dict[str, PartRecord] = field(default_factory=dict)

    def conditions(self) -> str:
        """Machine, threads and releases, in a line."""
        releases = {"torch": self.made.torch, **self.versions}
        names = ", ".join(f"{name} {release}" for name, release in releases.items())
        return f"{self.made.machine}; torch's threads: {self.threads}; {names}"

    def save(self, file: Path) -> None:
        """Replaces the file."""
        write_json(file, asdict(self), indent=1)


def new_record() -> SpeedRecord:
    """Of this process, without parts."""
    return SpeedRecord(made_here(), torch.get_num_threads(), dict(_versions()))


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PEERS:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found


def read_speed_record(file: Path) -> SpeedRecord:
    """What `SpeedRecord.save` wrote.

    Raises:
        UserError: it cannot be read, or is no such record.
    """
    remedy = "tools/benchmark.py --out writes such files"
    return checked(SpeedRecord, read_json(file, remedy), file, remedy)
