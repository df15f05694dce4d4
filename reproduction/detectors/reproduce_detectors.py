"""A detection table of the paper from our own runs: plan, training, evaluation, report."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from foundation.atomic_files import write_json, write_text
from foundation.errors import UserError
from reproduction.detectors.detection_table_report import markdown, read_lines, record
from reproduction.detectors.detection_tables import DetectionRow
from reproduction.detectors.row_evaluation import evaluate
from reproduction.detectors.table_plan import describe_plan, plan_rows, select_rows
from reproduction.results.provenance import made_here
from reproduction.runs import state_of
from reproduction.trainings import train_all
from training.command import say
from training.devices import broadcast_object, is_main, process_group, resolve_device


def reproduce_detectors(
    number: str,
    out: Path,
    *,
    names: Sequence[str] = (),
    config: Path | None = None,
    seeds: int = 3,
    together: int = 1,
    overrides: Sequence[str] = (),
    dry_run: bool = False,
    only_report: bool = False,
) -> None:
    """Prints the plan, trains and scores what is missing below `out`, and writes the report there.

    Runs and evaluations lie in `<out>/table<number>`; what was cut off goes on.

    Args:
        number: of `DETECTION_TABLES`.
        names: of rows; without any, all that are trained here.
        config: takes the place of the rows' own configurations, so that a table can be run in small.
        together: trainings at once, each with its share of the CPU's cores.
        dry_run: stop after the plan.
        only_report: run nothing, use what has been scored, of all seeds.
    Raises:
        UserError: a wrong name, number or override, a folder of another configuration, or whatever
            `detection.train.finetune` and `detection.results.evaluation.score_weights` refuse.
    """
    rows, folder = select_rows(number, names), out / f"table{number}"
    if only_report and (overrides or config):
        text = " ".join([*([f"--config {config}"] if config else []), *overrides])
        raise UserError(f"--only-report runs nothing, so {text} changes nothing; leave it out")
    if not only_report:
        plan = plan_rows(rows, seeds, folder, overrides, file=config, together=together)
        with process_group(resolve_device(plan.trainings[0].config.run.device)):
            if is_main():
                say(describe_plan(plan), end="\n\n")
            if dry_run:
                return
            train_all([one for one in plan.trainings if state_of(one.folder) != "complete"], together)
            broadcast_object(None)  # the others wait until the main process has written the last weights
            for evaluation in plan.evaluations:
                evaluate(evaluation)
    if is_main():
        report(number, rows, out)


def report(number: str, rows: Sequence[DetectionRow], out: Path) -> None:
    """Writes table<number>.md and .json into `out`, and prints the Markdown."""
    content = record(number, read_lines(rows, out / f"table{number}"), made_here())
    text = markdown(content)
    write_json(out / f"table{number}.json", asdict(content), indent=1)
    write_text(out / f"table{number}.md", f"{text}\n")
    say(text)
