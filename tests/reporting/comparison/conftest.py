"""What comparisons say and show."""

from collections.abc import Callable

import pytest

from reporting.page.page_parts import Note, Section, Table


@pytest.fixture
def texts() -> Callable[[list[Section]], str]:
    """All notes of the sections."""

    def read(sections: list[Section]) -> str:
        return " ".join(p.text for section in sections for p in section.parts if isinstance(p, Note))

    return read


@pytest.fixture
def rows() -> Callable[..., list[list[str]]]:
    """rows(sections, title, number=0): the cells of a section's table."""

    def read(sections: list[Section], title: str, number: int = 0) -> list[list[str]]:
        (section,) = [section for section in sections if section.title == title]
        table = [part for part in section.parts if isinstance(part, Table)][number]
        return [list(map(str, row)) for row in table.rows]

    return read
