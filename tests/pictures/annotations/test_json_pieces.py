"""Files read piece by piece are what a reader of the whole finds, or are left to it."""

import io
import json
from typing import Any

import pytest
from pydantic_core import from_json

from pictures.annotations import json_pieces
from pictures.annotations.json_pieces import read_sections

ENTRIES = [{"id": i, "text": "},{" if i % 7 == 0 else "a]}", "run": {"size": [1, 2]}} for i in range(200)]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(json_pieces, "_BLOCK", 300)
    monkeypatch.setattr(json_pieces, "_NEAR", 100)


def sections(content: bytes) -> list[tuple[str, Any]]:
    return list(read_sections(io.BytesIO(content), {"many": from_json, "none": from_json}))


@pytest.mark.parametrize("indent", [None, 2])
def test_the_pieces_together_are_the_file(indent: int | None):
    entries = [{**entry, "text": "é\u4e2d"} for entry in ENTRIES]
    content = {"about": {"version": 12.5, "long": "x" * 1000}, "many": entries, "none": [], "last": 17}
    found = sections(json.dumps(content, indent=indent, ensure_ascii=False).encode() + b" \n")
    pieces = [value for name, value in found if name == "many"]
    assert len(pieces) > 10 and [entry for piece in pieces for entry in piece] == entries
    assert [(name, value) for name, value in found if name != "many"] == [
        ("about", content["about"]), ("none", []), ("last", 17)
    ]  # fmt: skip


def test_text_that_looks_like_the_end_of_an_entry_is_never_taken_for_one():
    content = json.dumps({"many": ENTRIES}).encode()
    found: list[Any] = []
    with pytest.raises(ValueError):
        for _, part in read_sections(io.BytesIO(content), {"many": from_json}):
            found += part
    assert found == ENTRIES[: len(found)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"many": [{"a": 1}, {"a": 2}',
        b'{"many": [{"a": 1}, {"a": 2}]',
        b'{"many": [{"a": 1} {"a": 2}]}',
        b'{"many": [{"a": 1},\x0b{"a": 2}]}',
        b'{"many": [{"a": 1}, {"a": 2},]}',
        b'{"many": [1, 2]}',
        b'{"many": 5}',
        b'{"many": [], "many": []}',
        b'{"other": 1, "other": 2}',
        b'{"other": 1,}',
        b'{"other": 1}}',
        b'{"other" 1}',
        b"{1: 1}",
        b'{"other": ' + b"[" * 900,
        b"\xef\xbb\xbf" + b'{"other": 1}',
        '{"other": 1}'.encode("utf-16"),
    ],
)
def test_what_is_damaged_or_unusual_is_left_to_a_reader_of_the_whole(content: bytes):
    with pytest.raises(ValueError):
        sections(content)
