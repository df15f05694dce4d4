"""A table or figure of the paper from our own runs: plan, cost, training, report."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foundation.atomic_files import replace_atomically
from foundation.errors import UserError, suggest
from reproduction.cost import costs, plan_table
from reproduction.figures import draw_curves, draw_degradation
from reproduction.paper import FIGURES, TABLES, Row
from reproduction.runs import choose_rows, execute, plan_runs
from reproduction.tables import Line, markdown, read_line, record
from training.devices import broadcast_object, is_main, process_group, resolve_device

DEGRADATION = "degradation"  # of Table 6's networks


@dataclass(frozen=True)
class Target:
    """What is to be reproduced.

    Attributes:
        table: its number; a figure's is the table of the same networks.
        rows: of the table.
        print_table: False for a figure alone.
        figures: numbers, or "degradation".
    """

    table: str
    rows: list[Row]
    print_table: bool
    figures: list[str]

    @property
    def protocol(self) -> str | None:
        """Of the scores; a figure alone needs none but the run's own."""
        return TABLES[self.table].protocol if self.print_table else "last"


def find_target(table: str | None, figure: str | None) -> Target:
    """The rows and figures of a table, or of a figure alone.

    Raises:
        UserError: neither or both were given, there is none of this number, or it is data only.
    """
    if (table is None) == (figure is None):
        raise UserError("give --table or --figure, for instance --table 6")
    if table is not None:
        if table not in TABLES:
            raise UserError(f"no table {table!r} is held{suggest(table, TABLES)}")
        if TABLES[table].protocol is None:
            raise UserError(f"Table {table} comes from ImageNet's test server; choose another")
        figures = [number for number, other in FIGURES.items() if other.table == table]
        return Target(table, list(TABLES[table].rows), True, figures + [DEGRADATION] * (table == "6"))
    assert figure is not None
    if figure not in (*FIGURES, DEGRADATION):
        raise UserError(f"no figure {figure!r} is held{suggest(figure, [*FIGURES, DEGRADATION])}")
    if figure == DEGRADATION:
        return Target("6", [row for row in TABLES["6"].rows if _plain_or_residual(row)], False, [figure])
    frame = FIGURES[figure]
    keys = {key for _, panel in frame.panels for key in panel}
    return Target(frame.table, [r for r in TABLES[frame.table].rows if r.key in keys], False, [figure])


def _plain_or_residual(row: Row) -> bool:
    return row.key.startswith(("plain", "resnet"))


def reproduce(
    target: Target,
    out: Path,
    *,
    names: Sequence[str] = (),
    seeds: int = 3,
    together: int = 1,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    only_report: bool = False,
) -> None:
    """Prints the plan and its cost, runs or resumes what is missing below `out`, and writes the report there.

    Args:
        names: of rows; without any, all that are trained here.
        together: trainings at once in this process, see `classification.together`.
        dry_run: stop after the cost; the pictures need not be there.
        only_report: run nothing, use what has ended, of all seeds.
    Raises:
        UserError: a wrong name, number or override, data missing, a folder of another configuration, or
            whatever `pretrain` refuses.
    """
    rows = choose_rows(target.rows, names)
    if only_report and overrides:
        raise UserError(f"--only-report runs nothing, so {' '.join(overrides)} changes nothing; leave it out")
    if not only_report:
        runs = plan_runs(rows, seeds, out, overrides, together)
        with process_group(resolve_device(runs[0].config.run.device)):
            expected = costs(runs, without_data=dry_run)
            if is_main():
                print(plan_table(runs, expected, out), end="\n\n", flush=True)
            if dry_run:
                return
            execute(runs, together)
            broadcast_object(None)  # the others wait until the main process has written the last result
            score(target, rows, out)
    if not is_main():
        return
    shown = [row for row in target.rows if not names or row in rows]
    report(target, [read_line(row, target.protocol, out) for row in shown], out)


def score(target: Target, rows: Sequence[Row], out: Path) -> None:
    """Applies the table's protocol to what has ended, all processes together."""
    for row in rows:
        read_line(row, target.protocol, out, score=True)


def report(target: Target, lines: Sequence[Line], out: Path) -> None:
    """Writes table<number>.md and .json and the figures into `out`, and prints the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    if target.print_table:
        table = TABLES[target.table]
        parts.append(markdown(target.table, table, lines))
        numbers = {"table": target.table, "source": table.source, "rows": record(table, lines)}
        _write(out / f"table{target.table}.json", json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    for name in target.figures:
        file = out / (f"{name}.png" if name == DEGRADATION else f"figure{name}.png")
        caption = (
            draw_degradation(lines, file) if name == DEGRADATION else draw_curves(FIGURES[name], lines, file)
        )
        if caption:
            parts.append(f"![{file.stem}]({file.name})\n\n{caption}")
        elif not target.print_table:
            parts.append(f"No run for {file.name} has ended yet.")
    text = "\n\n".join(parts)
    stem = f"table{target.table}" if target.print_table else file.stem
    _write(out / f"{stem}.md", text + "\n")
    print(text)


def _write(file: Path, text: str) -> None:
    with replace_atomically(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
