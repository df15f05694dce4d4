"""What is looked for, how bad it is, and the table of what was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from foundation.file_naming import printable

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")

EXAMPLES = 2  # of each check in the table
WIDTH = 100  # characters of an example's detail

# docs/doctor.md explains each. An error stops a training or teaches it something wrong.
_ERRORS = """
malformed_entry duplicate_image_id duplicate_annotation_id duplicate_category_id
unknown_image unknown_category other_class malformed_box negative_box damaged_segmentation
missing_picture empty_picture unreadable_picture huge_picture wrong_size turned_boxes leak
missing_mask unreadable_mask unknown_index
empty_class_folder no_class_folders different_classes no_pictures
nothing_to_freeze wrong_weights other_stride_on wrong_batch does_not_build
"""
# Of these something is dropped, or they are for a person to judge.
_WARNINGS = """
misspelt_name missing_size other_suffix
duplicate_category_name duplicate_file_name empty_box outside_box crossing_box duplicate_box
exif_ambiguous duplicate_picture near_leak absent_class
few_epochs many_epochs milestone_after_end poor_anchors too_many_objects
"""
# Many sound data sets have these.
_NOTES = """
near_duplicate_box tiny_box missing_segmentation
exif_size exif_turned damaged_exif mislabelled_picture grey_picture cmyk_picture palette_picture alpha_picture
deep_picture several_frames long_picture near_duplicate_picture
no_objects unused_category rare_category category_gap class_counts crowd difficult
below_stride enlarged_pictures all_ignored
"""
CHECKS: dict[str, Severity] = {
    check: severity
    for severity, checks in zip(ORDER, (_ERRORS, _WARNINGS, _NOTES), strict=True)
    for check in checks.split()
}


@dataclass(frozen=True)
class Finding:
    """One thing found."""

    check: str  # of `CHECKS`
    where: str  # the file or entry
    detail: str  # what is wrong with it
    severity: Severity  # as of the check, or worse where this data set's loader takes it worse


def find(check: str, where: object, detail: str, severity: Severity | None = None) -> Finding:
    """A finding with its check's severity unless another is given."""
    return Finding(check, str(where), detail, severity or CHECKS[check])


def is_clean(findings: Iterable[Finding]) -> bool:
    """Whether nothing is worse than a note."""
    return all(finding.severity == "note" for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """One row for each check and severity, the worst first: severity, check, count, first examples."""
    checks = list(CHECKS)

    def rank(finding: Finding) -> tuple[int, int]:
        return ORDER.index(finding.severity), checks.index(finding.check)

    rows = [("severity", "check", "count", "first")]
    for _, group in groupby(sorted(findings, key=rank), rank):
        found = list(group)
        named: tuple[str, str, str] = (found[0].severity, found[0].check, f"{len(found):,}")
        for finding in found[:EXAMPLES]:
            where = printable(finding.where, keep="")
            detail = printable(" ".join(finding.detail.split()), keep="")
            # Of a path the end tells most, of a sentence the beginning.
            where = where if len(where) <= WIDTH // 2 else f"…{where[1 - WIDTH // 2 :]}"
            rows.append((*named, f"{where}: {detail if len(detail) <= WIDTH else f'{detail[: WIDTH - 1]}…'}"))
            named = ("", "", "")
    first, second, third = (max(len(row[column]) for row in rows) for column in range(3))
    return "\n".join(f"{row[0]:<{first}}  {row[1]:<{second}}  {row[2]:>{third}}  {row[3]}" for row in rows)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything found, for programs."""
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ORDER}
    return {"clean": is_clean(findings), "counts": counts, "findings": [vars(f) for f in findings]}
