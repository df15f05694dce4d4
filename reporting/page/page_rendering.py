"""Stories as one HTML file that needs nothing outside of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from foundation.file_naming import printable
from reporting.page.page_parts import Section, Story
from reporting.page.svg_charts import SERIES

# Nothing is loaded, run, sent or framed: styles and pictures stand in the file.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Page:
    """What the file holds.

    Attributes:
        comparison: of several runs; stands first.
        made: when and by what the page was made.
    """

    title: str
    stories: Sequence[Story]
    comparison: Sequence[Section]
    made: str


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("reporting.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = _visible
    environment.tests["part"] = lambda value, name: type(value).__name__ == name
    return environment.get_template("page.html.jinja")


def _visible(text: Any) -> Any:
    """Text with control characters escaped, which could turn or hide what stands beside; markup stays."""
    return text if hasattr(text, "__html__") else printable(str(text))


def render(page: Page) -> str:
    """The HTML of a page."""
    return _template().render(page=page, policy=POLICY, series=SERIES)
