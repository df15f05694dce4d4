"""The story of an analysis: its figure, its merits, its command."""

import json
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import UserError
from reporting.analysis_story import tell_analysis
from reporting.page.page_parts import Code, Gallery, Note, Table

RESULT = {
    "command": "python tools/analyze.py responses --weights a.safetensors",
    "analysis": "responses",
    "data": {"kind": "shapes", "root": None},
    "options": {"pictures": 5},
    "networks": {
        "<b>net": {
            "weights": "a.safetensors",
            "sha256": "ff",
            "mean": 0.123456,
            "stages": [{"stage": "res2", "std": 1.0}],
        },
        "other": {"weights": "b.safetensors", "sha256": "ee", "mean": 2, "range": [1, 2]},
    },
}


def test_of_a_folder(tmp_path: Path):
    (tmp_path / "result.json").write_text(json.dumps(RESULT))
    story, _ = tell_analysis(tmp_path, "name", 1)
    sections = {section.title: section.parts for section in story.sections}
    (note,) = sections["Figure"]
    assert isinstance(note, Note) and "There is no responses.png" in note.text
    Image.new("RGB", (4, 4)).save(tmp_path / "responses.png")
    story, _ = tell_analysis(tmp_path, "name", 1)
    sections = {section.title: section.parts for section in story.sections}
    assert isinstance(sections["Figure"][0], Gallery)
    (figures,), (stages,), (command,) = sections["Figures"], sections["<b>net: stages"], sections["Repeat it"]
    assert isinstance(figures, Table) and isinstance(stages, Table) and isinstance(command, Code)
    assert figures.rows == [["mean", "0.1235", "2"], ["range", "", "1 / 2"]]
    assert stages.heading == ["stage", "std"] and stages.rows == [["res2", "1"]]
    assert command.text == RESULT["command"] and story.kind == "analysis of 2 networks"
    (tmp_path / "result.json").write_text(json.dumps(RESULT | {"analysis": "similarity"}))
    assert tell_analysis(tmp_path, "name", 1)[0].kind == "analysis of 2 comparisons"


def test_damaged(tmp_path: Path):
    (tmp_path / "result.json").write_text(json.dumps({"analysis": "paths"}))
    with pytest.raises(UserError, match=r"result\.json names no networks; make it anew with tools/analyze"):
        tell_analysis(tmp_path, "name", 1)
