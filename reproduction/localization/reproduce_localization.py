"""Tables 13 and 14 of the paper from our own runs: plan, training, searches, report."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from classification.score.saved_scores import Scores, average
from detection.localization.localization_config import LocalizationConfig
from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError
from reproduction.localization.localization_runs import describe_plan, execute_localization, plan_localization
from reproduction.localization.localization_table_report import localization_markdown, read_lines, record
from reproduction.localization.localization_tables import LOCALIZATION_TABLES, LocalizationRow
from reproduction.results.provenance import made_here
from reproduction.runs import choose_rows
from training.command import say
from training.devices import is_main, process_group, resolve_device

SHARED = "localization"  # folder of both tables' runs


def reproduce_localization(
    number: str,
    out: Path,
    *,
    names: Sequence[str] = (),
    config: Path | None = None,
    seeds: int = 3,
    together: int = 1,
    guesses: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    only_report: bool = False,
) -> None:
    """Prints the plan, trains and searches what is missing below `out`, and writes the report there.

    Args:
        number: of `LOCALIZATION_TABLES`.
        names: of rows; without any, all that can be run.
        config: takes the place of the paper's configurations, so that a table can be run in small.
        guesses: files of tools/eval_cls.py --save-logits on the validation pictures; several are averaged.
            Rows of predicted classes need them.
        dry_run: stop after the plan.
        only_report: run nothing, use what has been searched, of all seeds.
    Raises:
        UserError: a wrong name, number or override, guesses missing for a row that is named, or whatever
            trainings and searches refuse.
    """
    if together > 1:
        raise UserError(f"--together {together}: localization trains one after another; leave it out")
    rows, folder = choose_rows(LOCALIZATION_TABLES[number].rows, names), out / SHARED
    if only_report and (overrides or config or guesses):
        raise UserError(
            "--only-report runs nothing, so keys, --config and --guesses change nothing; leave them out"
        )
    if not only_report:
        rows = _that_can_run(rows, names, guesses)
        scores: Scores | None = average(guesses) if guesses else None
        plan = plan_localization(_with_steps(rows, scores), seeds, folder, overrides, file=config)
        first: LocalizationConfig = plan.trainings[0].config
        with process_group(resolve_device(first.run.device)):
            if is_main():
                say(describe_plan(plan, scores), end="\n\n")
            if dry_run:
                return
            execute_localization(plan, scores)
    if is_main():
        report(number, out)


def _that_can_run(
    rows: Sequence[LocalizationRow], names: Sequence[str], guesses: Sequence[Path]
) -> list[LocalizationRow]:
    """Without guesses, those that need none; UserError if others were named, or none is left."""
    chosen = [row for row in rows if guesses or not row.needs_guesses]
    if not chosen or (names and len(chosen) < len(rows)):
        missing = ", ".join(row.key for row in rows if row.needs_guesses)
        raise UserError(
            f"{missing}: the classes are a classifier's guesses; give --guesses FILE, what "
            "tools/eval_cls.py --save-logits wrote of the validation pictures"
        )
    return chosen


def _with_steps(rows: Sequence[LocalizationRow], scores: Scores | None) -> list[LocalizationRow]:
    """The rows and, before them, those of Table 13 whose boxes they go on from."""
    if scores is None:
        return list(rows)
    steps = {row.key: row for row in LOCALIZATION_TABLES["13"].rows}
    needed = {"rcnn": ["rpn-top5"], "ensemble": ["rpn-top5", "rcnn-top5"]}
    keys = dict.fromkeys(key for row in rows for key in (*needed.get(str(row.network), ()), row.key))
    return [row for row in steps.values() if row.key in keys]


def report(number: str, out: Path) -> None:
    """Writes table<number>.md and .json into `out`, and prints the Markdown."""
    lines = read_lines(LOCALIZATION_TABLES[number].rows, out / SHARED)
    content = record(number, lines, made_here())
    text = localization_markdown(content)
    write_json(out / f"table{number}.json", asdict(content), indent=1)
    write_text(out / f"table{number}.md", f"{text}\n")
    say(text)
