"""All tables in one text, from a folder that is gone afterwards."""

from pathlib import Path

import pytest

from benchmarks.scale import scale_tables as module


def test_all_tables(monkeypatch: pytest.MonkeyPatch):
    folders: list[Path] = []
    for name in ("loader_table", "process_table", "memory_table"):
        monkeypatch.setattr(module, name, lambda folder, name=name: folders.append(folder) or name)
    assert module.scale_tables() == "loader_table\n\nprocess_table\n\nmemory_table"
    assert len(set(folders)) == 1 and not folders[0].exists()
