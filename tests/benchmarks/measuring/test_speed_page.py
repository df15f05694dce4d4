"""The page holds all that was timed, and ratios that follow from the rounds."""

import re

import pytest

from benchmarks.benchmark import PARTS
from benchmarks.measuring.row_timing import Timing
from benchmarks.measuring.speed_page import RECORD, TEMPLATE, fill, speed_page
from benchmarks.measuring.speed_records import PartRecord, SpeedRecord
from foundation.errors import UserError
from reproduction.results.provenance import Made


def sitting(**rows: list[Timing]) -> SpeedRecord:
    """A record with these parts."""
    parts = {name: PartRecord(found, [f"Note of {name}."], 1.0, 60.0) for name, found in rows.items()}
    return SpeedRecord(Made("python x", "a CPU", "2"), 2, {}, parts)


def timing(name: str, ratio: float) -> Timing:
    return Timing(name, (1.0,), (ratio,))


def test_ratios_and_minutes():
    record = sitting(net=[timing("a: x", 1.5), timing("a: y", 1.25), timing("b", 12.4)])
    page = fill('{{ part("net") }}|{{ ratios("net", "a") }}|{{ ratios("net", "b") }}|{{ minutes }}', record)
    assert (
        page.split("|")[-3:] == ["1.25–1.50", "12", "1.0"]
        and "Note of net.\n\n(60 s, 1 of them to set up.)" in page
    )
    assert fill('{{ ratios("net", "a: y", "b") }}{{ part("net") }}', record).startswith("1.25–12|")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("", r"part 'net' stands nowhere on the page; add \{\{ part\(\"net\"\) \}\} to benchmarks\.jinja"),
        ('{{ part("nets") }}', r"no part 'nets' was timed; did you mean 'net'\?; time all parts"),
        ('{{ part("net") }}{{ ratios("net", "b") }}', r"no row begins with 'b'"),
    ],
)
def test_what_does_not_fit(template: str, message: str):
    with pytest.raises(UserError, match=message):
        fill(template, sitting(net=[timing("a", 1.0)]))


def test_the_template_shows_every_part():
    """It asks for rows by their beginnings; a record with just these, and all parts, fills it."""
    template = TEMPLATE.read_text()
    asked: dict[str, list[Timing]] = {name: [] for name in PARTS}
    for name, beginnings in re.findall(r'ratios\("(\w+)", ([^)]*(?:\)"[^)]*)*)\)', template):
        asked[name] += [timing(row, 2.0) for row in re.findall(r'"([^"]+)"', beginnings)]
    page = fill(template, sitting(**asked))
    assert [name for name in PARTS if f"Note of {name}." not in page] == []
    assert "{" not in page


def test_the_page_is_fresh():
    """Write it anew with python tools/results.py benchmarks > docs/benchmarks.md."""
    page = TEMPLATE.parents[2] / "docs" / "benchmarks.md"
    assert not RECORD.is_file() or speed_page() == page.read_text()
