"""docs/benchmarks.md: the prose of benchmarks.jinja, with tables and ratios of one sitting."""

from pathlib import Path

from jinja2 import Environment, StrictUndefined

from benchmarks.measuring.speed_records import SpeedRecord, read_speed_record
from foundation.errors import UserError, suggest

RECORD = Path(__file__).resolve().parents[1] / "records" / "cpu.json"
TEMPLATE = Path(__file__).with_name("benchmarks.jinja")


def speed_page() -> str:
    """The page in Markdown; for errors see `fill`."""
    return fill(TEMPLATE.read_text(encoding="utf-8"), read_speed_record(RECORD))


def fill(template: str, record: SpeedRecord) -> str:
    """A template with `part("name")`, `ratios("part", "row", …)`, `record` and `minutes` of a sitting.

    Raises:
        UserError: a part of the record stands nowhere on the page, or the page names what is not there.
    """
    shown = set[str]()

    def part(name: str) -> str:
        """Its table and notes, and what it took."""
        shown.add(name)
        if name not in record.parts:
            remedy = "time all parts in one sitting"
            raise UserError(f"no part {name!r} was timed{suggest(name, record.parts)}; {remedy}")
        found = record.parts[name]
        return f"{found.markdown()}\n\n({found.seconds:.0f} s, {found.set_up:.0f} of them to set up.)"

    def ratios(name: str, *rows: str) -> str:
        """The median ratio of the rows that begin so, or the lowest and the highest of them."""
        found = [row.ratio for beginning in rows for row in record.parts[name].named(beginning)]
        ends = (f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" for ratio in (min(found), max(found)))
        return "–".join(dict.fromkeys(ends))

    minutes = sum(part.seconds for part in record.parts.values()) / 60
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(template).render(part=part, ratios=ratios, record=record, minutes=minutes)
    for name in record.parts:
        if name not in shown:
            raise UserError(
                f'part {name!r} stands nowhere on the page; add {{{{ part("{name}") }}}} to {TEMPLATE.name}'
            )
    return page
