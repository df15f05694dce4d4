"""The page: everything that came from data is text, and nothing outside is asked for."""

import pytest
from jinja2 import UndefinedError

from reporting.page.page_parts import (
    Chart,
    Charts,
    Code,
    Facts,
    Gallery,
    Note,
    Picture,
    Section,
    Story,
    Table,
)
from reporting.page.page_rendering import POLICY, Page, render
from reporting.page.svg_charts import Axis, Line, line_chart

EVIL = "\"><script>alert('1')</script>&amp;"


def everything(text: str) -> list:
    svg = line_chart([Line([0, 1], [0, 1])], Axis(text), Axis(text), title=text)
    return [
        Note(text),
        Note(text, warning=True),
        Facts([(text, text)]),
        Table([text], [[text]], caption=text, tall=True),
        Charts([Chart(text, svg, [(0, text)], text)]),
        Gallery([Picture("data:image/png;base64,AAAA", 1, 2, text)], text),
        Code(text),
    ]


def test_names_are_text_everywhere():
    sections = [Section(EVIL, everything(EVIL)), Section(EVIL, everything(EVIL), folded=True)]
    page = render(Page(EVIL, [Story(EVIL, EVIL, EVIL, sections)] * 2, sections, EVIL))
    assert "<script" not in page and "alert('1')" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;amp;") > 100


def test_characters_that_turn_text_are_shown():
    page = render(Page("a\u202eb", [Story("n", "k", "h\x1b[31m")], [], ""))
    assert r"a\u202eb" in page and r"h\x1b[31m" in page and "\u202e" not in page


def test_nothing_is_loaded_or_run():
    for part in ("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'", "form-action 'none'"):
        assert part in POLICY
    assert "script-src" not in POLICY and "unsafe-eval" not in POLICY
    page = render(Page("t", [Story("n", "k", "h")], [], ""))
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_one_run_has_one_title():
    one = render(Page("run", [Story("run", "kind", "headline")], [], ""))
    assert one.count("headline</p>") == 1 and 'class="hidden"' in one
    two = render(Page("2 runs", [Story("a", "kind", "headline")] * 2, [], ""))
    assert two.count("headline</p>") == 2 and 'class="hidden"' not in two


def test_what_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        render(Page("t", [object()], [], ""))  # type: ignore[list-item]
