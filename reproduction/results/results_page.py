"""docs/results.md: the prose of results.jinja, with commands, tables and numbers from records of runs."""

import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from foundation.errors import UserError, suggest
from reproduction.results.run_records import RECORDS, read_records

WIDTH = 118  # of a command's line
TEMPLATE = Path(__file__).with_name("results.jinja")


def results_page(folder: Path = RECORDS) -> str:
    """The page in Markdown, with the records of a folder; for errors see `fill`."""
    return fill(TEMPLATE.read_text(encoding="utf-8"), folder)


def fill(template: str, folder: Path) -> str:
    """A template whose `record("name")` and `value("name", score, row)` come from the records of a folder.

    Raises:
        UserError: a record is wrong, or stands nowhere on the page, or the page names what is not there.
    """
    records, shown = read_records(folder), set[str]()

    def record(name: str) -> str:
        """How it was run, and its table."""
        shown.add(name)
        if name not in records:
            raise UserError(f"{folder / name}.json: no such record{suggest(name, records)}")
        found = records[name]
        return "\n\n".join([*_code(found.commands), found.conditions, found.markdown()])

    def value(name: str, score: str, row: str, less: str | None = None, digits: int = 1) -> str:
        """The mean of a row's score, or by how much it is above another row's."""
        means = records[name].means if name in records else {}
        rows = [row] if less is None else [row, less]
        for each in rows:
            if (each, score) not in means:
                raise UserError(f"{folder / name}.json: {TEMPLATE.name} asks for {score!r} of a row {each!r}")
        first, *others = (means[each, score] for each in rows)
        return f"{first - sum(others):.{digits}f}"

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    page = environment.from_string(template).render(record=record, value=value)
    for name in records:
        if name not in shown:
            remedy = f'add {{{{ record("{name}") }}}} to {TEMPLATE.name}, or remove the file'
            raise UserError(f"{folder / name}.json stands nowhere on the page: {remedy}")
    return page


def _code(commands: Sequence[str]) -> list[str]:
    """A block with the commands, in lines that a shell joins again; what stands in quotes is not cut."""
    lines = ["```"]
    for command in commands:
        for number, part in enumerate(_parts(command)):
            if number and len(f"{lines[-1]} {part} \\") <= WIDTH:
                lines[-1] += f" {part}"
            else:
                lines[-1] += " \\" if number else ""
                lines.append(f"  {part}" if number else part)
    return ["\n".join([*lines, "```"])] if commands else []


def _parts(command: str) -> list[str]:
    """Where a line may end: before an option or a key; an option's values stay with it."""
    parts: list[str] = []
    for word in re.findall(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""", command):
        if parts and not word.startswith("-") and "=" not in word:
            parts[-1] += f" {word}"
        else:
            parts.append(word)
    return parts
