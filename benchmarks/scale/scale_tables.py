"""What more processes, more workers and more steps cost; about two minutes on two idle cores."""

import tempfile
from pathlib import Path

from benchmarks.scale.loader_speed import loader_table
from benchmarks.scale.process_speed import process_table
from benchmarks.scale.resident_memory import memory_table


def scale_tables() -> str:
    """The tables of this folder in Markdown; everything is generated and nothing is kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return "\n\n".join([loader_table(folder), process_table(folder), memory_table(folder)])
