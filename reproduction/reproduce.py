"""A table or figure of the paper from our own runs: plan, cost, training, report."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from foundation.atomic_files import write_text
from foundation.errors import UserError, suggest
from reproduction.classifier_table_report import markdown, record
from reproduction.cost import costs, plan_table
from reproduction.detectors.detection_tables import DETECTION_TABLES
from reproduction.figures import draw_curves, draw_degradation
from reproduction.localization.localization_tables import LOCALIZATION_TABLES
from reproduction.published.paper import FIGURES, TABLES
from reproduction.published.table_rows import Row
from reproduction.results.provenance import made_here
from reproduction.runs import choose_rows, execute, plan_runs
from reproduction.tables import Line, read_line
from training.command import say
from training.devices import broadcast_object, is_main, process_group, resolve_device

DEGRADATION = "degradation"  # of Table 6's networks


@dataclass(frozen=True)
class Selection:
    """What is to be reproduced: a table with its figures, or a figure alone."""

    table: str  # its number; a figure's is the table of the same networks
    rows: list[Row]
    print_table: bool  # False for a figure alone
    figures: list[str]  # numbers, or "degradation"

    @property
    def protocol(self) -> str | None:
        """Of the scores; a figure alone needs none but the run's own."""
        return TABLES[self.table].protocol if self.print_table else "last"


def select(table: str | None, figure: str | None) -> Selection:
    """The rows and figures of a table, or of a figure alone.

    Raises:
        UserError: neither or both were given, there is none of this number, or it is data only.
    """
    if (table is None) == (figure is None):
        raise UserError("give --table or --figure, for instance --table 6")
    if table is not None:
        if table not in TABLES:
            held = ", ".join([*TABLES, *DETECTION_TABLES, *LOCALIZATION_TABLES])
            raise UserError(f"no table {table!r} is held; choose one of {held}")
        if TABLES[table].protocol is None:
            raise UserError(f"Table {table} comes from ImageNet's test server; choose another")
        figures = [number for number, other in FIGURES.items() if other.table == table]
        return Selection(table, list(TABLES[table].rows), True, figures + [DEGRADATION] * (table == "6"))
    assert figure is not None
    if figure not in (*FIGURES, DEGRADATION):
        raise UserError(f"no figure {figure!r} is held{suggest(figure, [*FIGURES, DEGRADATION])}")
    if figure == DEGRADATION:
        rows = [row for row in TABLES["6"].rows if row.key.startswith(("plain", "resnet"))]
        return Selection("6", rows, False, [figure])
    frame = FIGURES[figure]
    keys = {key for _, panel in frame.panels for key in panel}
    return Selection(frame.table, [r for r in TABLES[frame.table].rows if r.key in keys], False, [figure])


def reproduce(
    selection: Selection,
    out: Path,
    *,
    names: Sequence[str] = (),
    config: Path | None = None,
    seeds: int = 3,
    together: int = 1,
    depths: Sequence[str] = (),
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    only_report: bool = False,
) -> None:
    """Prints the plan and its cost, runs or resumes what is missing below `out`, and writes the report there.

    Args:
        names: of rows; without any, all that are trained here.
        config: of detectors alone, see `reproduction.detectors.reproduce_detectors`.
        together: trainings at once in this process, see `classification.pretrain.pretrain_together`.
        depths: "110=20" trains networks of 20 layers in place of 110, see `reproduction.runs.other_depths`.
        dry_run: stop after the cost; the pictures need not be there.
        only_report: run nothing, use what has ended, of all seeds.
    Raises:
        UserError: a wrong name, number or override, data missing, a folder of another configuration, or
            whatever `pretrain` refuses.
    """
    rows = choose_rows(selection.rows, names)
    if config is not None:
        raise UserError(
            f"--config {config} belongs to the tables of detectors and of localization, 7 to 14; leave it out"
        )
    if only_report and (changes := [*(f"--depth {text}" for text in depths), *overrides]):
        raise UserError(f"--only-report runs nothing, so {' '.join(changes)} changes nothing; leave it out")
    if not only_report:
        runs = plan_runs(rows, seeds, out, overrides, together, depths)
        with process_group(resolve_device(runs[0].config.run.device)):
            expected = costs(runs, without_data=dry_run)
            if is_main():
                say(plan_table(runs, expected, out), end="\n\n")
            if dry_run:
                return
            execute(runs, together)
            broadcast_object(None)  # the others wait until the main process has written the last result
            for row in rows:  # all processes score what has ended together
                read_line(row, selection.protocol, out, score=True)
    if is_main():
        shown = [row for row in selection.rows if not names or row in rows]
        report(selection, [read_line(row, selection.protocol, out) for row in shown], out)


def report(selection: Selection, lines: Sequence[Line], out: Path) -> None:
    """Writes table<number>.md and .json and the figures into `out`, and prints the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    if selection.print_table:
        content = record(selection.table, lines, made_here())
        parts.append(markdown(content))
        numbers = json.dumps(asdict(content), indent=1, allow_nan=False)
        write_text(out / f"table{selection.table}.json", f"{numbers}\n")
    for name in selection.figures:
        if name == DEGRADATION:
            file = out / f"{name}.png"
            caption = draw_degradation(lines, file)
        else:
            file = out / f"figure{name}.png"
            caption = draw_curves(FIGURES[name], lines, file)
        if caption:
            parts.append(f"![{file.stem}]({file.name})\n\n{caption}")
        elif not selection.print_table:
            parts.append(f"No run for {file.name} has ended yet.")
    stem = f"table{selection.table}" if selection.print_table else file.stem
    text = "\n\n".join(parts)
    write_text(out / f"{stem}.md", f"{text}\n")
    say(text)
