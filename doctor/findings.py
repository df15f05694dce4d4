"""What is looked for, how bad it is, and the table of what was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
ORDER: tuple[Severity, ...] = ("error", "warning", "note")

# An error stops a training or teaches it something wrong; of a warning something is dropped, or it is for a
# person to judge; a note is as data sets are. docs/doctor.md explains each.
CHECKS: dict[str, Severity] = {
    "malformed_entry": "error",
    "duplicate_image_id": "error",
    "duplicate_annotation_id": "error",
    "duplicate_category_id": "error",
    "duplicate_category_name": "warning",
    "duplicate_file_name": "warning",
    "unknown_image": "error",
    "unknown_category": "error",
    "malformed_box": "error",
    "negative_box": "error",
    "empty_box": "warning",
    "outside_box": "warning",
    "crossing_box": "warning",
    "duplicate_box": "warning",
    "near_duplicate_box": "note",
    "tiny_box": "note",
    "damaged_segmentation": "error",
    "missing_segmentation": "note",
    "missing_picture": "error",
    "empty_picture": "error",
    "unreadable_picture": "error",
    "wrong_size": "error",
    "exif_size": "note",
    "exif_ambiguous": "warning",
    "exif_turned": "note",
    "damaged_exif": "note",
    "mislabelled_picture": "note",
    "grey_picture": "note",
    "cmyk_picture": "note",
    "palette_picture": "note",
    "alpha_picture": "note",
    "deep_picture": "note",
    "several_frames": "note",
    "huge_picture": "warning",
    "long_picture": "note",
    "duplicate_picture": "warning",
    "near_duplicate_picture": "note",
    "leak": "error",
    "near_leak": "warning",
    "empty_class_folder": "error",
    "no_class_folders": "error",
    "different_classes": "error",
    "no_pictures": "error",
    "no_objects": "note",
    "unused_category": "note",
    "rare_category": "note",
    "category_gap": "note",
    "class_counts": "note",
    "crowd": "note",
    "difficult": "note",
    "nothing_to_freeze": "error",
    "wrong_weights": "error",
    "other_stride_on": "error",
    "wrong_batch": "error",
    "does_not_build": "error",
    "few_epochs": "warning",
    "many_epochs": "warning",
    "milestone_after_end": "warning",
    "poor_anchors": "warning",
    "below_stride": "note",
    "too_many_objects": "warning",
    "enlarged_pictures": "note",
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        check: of `CHECKS`.
        where: the file or entry.
        detail: what is wrong with it.
        severity: as of the check, or worse where this data set's loader takes it worse.
    """

    check: str
    where: str
    detail: str
    severity: Severity


def find(check: str, where: object, detail: str, severity: Severity | None = None) -> Finding:
    """A finding with its check's severity unless another is given."""
    return Finding(check, str(where), detail, severity or CHECKS[check])


def is_clean(findings: Iterable[Finding]) -> bool:
    """Whether nothing is worse than a note."""
    return all(finding.severity == "note" for finding in findings)


def table(findings: Sequence[Finding], examples: int = 2, width: int = 100) -> str:
    """One row for each check and severity, the worst first: severity, check, count, first examples."""
    groups: dict[tuple[int, int], list[Finding]] = {}
    checks = list(CHECKS)
    for finding in findings:
        rank = ORDER.index(finding.severity), checks.index(finding.check)
        groups.setdefault(rank, []).append(finding)
    rows = [("severity", "check", "count", "first")]
    for rank in sorted(groups):
        found = groups[rank]
        for number, finding in enumerate(found[:examples]):
            # Of a path the end tells most, of a sentence the beginning.
            where = (
                finding.where if len(finding.where) <= width // 2 else f"…{finding.where[1 - width // 2 :]}"
            )
            detail = " ".join(finding.detail.split())
            text = f"{where}: {detail if len(detail) <= width else f'{detail[: width - 1]}…'}"
            named = (finding.severity, finding.check, f"{len(found):,}") if number == 0 else ("", "", "")
            rows.append((*named, text))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}" for row in rows
    )


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """Everything found, for programs."""
    counts = {severity: sum(f.severity == severity for f in findings) for severity in ORDER}
    return {"clean": is_clean(findings), "counts": counts, "findings": [vars(f) for f in findings]}
