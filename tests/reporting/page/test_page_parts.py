"""The parts of a page: every kind of part that a section may hold is one the template shows."""

from typing import get_args

from markupsafe import Markup

from reporting.page.page_parts import (
    Chart,
    Charts,
    Code,
    Facts,
    Gallery,
    Note,
    Part,
    Picture,
    Section,
    Story,
    Table,
)
from reporting.page.page_rendering import Page, render

SAMPLES = {
    Note: Note("shown"),
    Facts: Facts([("name", "shown")]),
    Table: Table(["a"], [["shown"]]),
    Charts: Charts([Chart("title", Markup("<svg></svg>"), [(0, "shown")])]),
    Gallery: Gallery([Picture("data:image/png;base64,", 1, 1, "shown")]),
    Code: Code("shown"),
}


def test_every_part_is_shown():
    assert set(SAMPLES) == set(get_args(Part))
    for part in SAMPLES.values():
        page = render(Page("t", [Story("n", "k", "h", [Section("s", [part])])], [], "made"))
        assert "shown" in page, part
