"""The command: what to look at, what to print, what to write."""

import json
from collections.abc import Sequence
from pathlib import Path

from detection.config import DetectionConfig
from detection.data.dataset_splits import parse_split
from detection.data.voc_dataset import VocSplit
from doctor import coco_repair as repair_coco
from doctor import voc_repair as repair_voc
from doctor.examination import Examination, examine, open_sets, sets_of
from doctor.findings import Finding, as_json, is_clean, table
from doctor.training_checks import check_config
from foundation.errors import UserError
from training.config import load_config


def diagnose(
    sets: Sequence[str],
    *,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    quick: bool = False,
    json_file: Path | None = None,
    repair: Path | None = None,
    workers: int = 2,
) -> bool:
    """Prints what is wrong with data sets, or with a configuration and its sets.

    Returns:
        Whether nothing is worse than a note.
    Raises:
        UserError: the sets or the configuration cannot be read, or nothing of this kind can be repaired.
    """
    lines: list[str] = []
    findings: list[Finding] = []
    if config is None:
        surveys = open_sets(sets)
    else:
        loaded = load_config(DetectionConfig, config, overrides)
        training, validation = sets_of(loaded.data)
        lines, findings = check_config(loaded, training, str(config))
        surveys = training + validation
    if repair is not None:
        _check_repairable(sets, repair)
    examination = examine(surveys, quick=quick, workers=workers)
    findings += examination.findings
    _print(lines, findings)
    if json_file is not None:
        json_file.write_text(json.dumps({"config": lines, **as_json(findings)}, indent=1), encoding="utf-8")
    if repair is not None:
        print("\n".join(_repair(sets[0], examination, repair)))
    return is_clean(findings)


def _check_repairable(sets: Sequence[str], out: Path) -> None:
    if len(sets) != 1 or sets[0].startswith("folder:"):
        raise UserError(f"--repair takes one coco: or voc: set, got {' '.join(sets) or 'a configuration'}")
    if out.exists():
        raise UserError(f"{out} exists, and repairs overwrite nothing; choose another name")


def _print(lines: Sequence[str], findings: Sequence[Finding]) -> None:
    if lines:
        print("\n".join(lines), end="\n\n")
    print(table(findings))
    print("clean" if is_clean(findings) else "not clean: errors or warnings above")


def _repair(text: str, examination: Examination, out: Path) -> list[str]:
    survey, facts = examination.surveys[0], examination.facts[0]
    split = parse_split(text)
    if isinstance(split, VocSplit):
        changes = repair_voc.write_repaired(split, survey, facts, out)
    else:
        changes = repair_coco.write_repaired(survey, facts, out)
    return [*changes, f"{out}: {len(changes)} changes"]
