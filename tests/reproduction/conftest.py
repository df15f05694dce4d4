"""Run folders by hand: what a training leaves behind, without training."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from classification.config import PretrainConfig
from reproduction.published.paper import TABLES
from reproduction.published.table_rows import Row
from reproduction.runs import row_config
from training.config import dump_config

RowOf = Callable[[str], Row]
WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def row_of() -> RowOf:
    """The row of Table 6, or of another, by its key."""

    def find(key: str, table: str = "6") -> Row:
        (row,) = [row for row in TABLES[table].rows if row.key == key]
        return row

    return find


@pytest.fixture
def write_run(tmp_path: Path, row_of: Callable[..., Row]) -> WriteRun:
    """Writes <tmp_path>/<key>_seed<seed>: an ended run with these last scores, or one under way without."""

    def write(
        key: str,
        seed: int = 0,
        *,
        table: str = "6",
        overrides: Sequence[str] = (),
        metrics: Sequence[dict] = (),
        **scores: float,
    ) -> Path:
        config: PretrainConfig = row_config(row_of(key, table), [*overrides, f"run.seed={seed}"])
        folder = tmp_path / f"{key}_seed{seed}"
        folder.mkdir()
        (folder / "config.yaml").write_text(dump_config(config))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
        if scores:
            best = {"step": 1, "error": 0.5}  # must never be what is reported
            result = {"step": config.schedule.total_steps, "scores": scores, "best": best}
            (folder / "result.json").write_text(json.dumps(result))
        return folder

    return write
