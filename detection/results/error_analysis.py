"""What goes wrong in predictions: precision-recall curves, kinds of errors, confusions of classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from detection.metrics.coco_ap import hotcoco_evaluation
from detection.metrics.conventions import ClassMatches, Conventions, class_curve
from detection.metrics.record_checks import Record, check_records
from detection.metrics.voc_ap import average_precision

# What TIDE's names mean (Bolya et al. 2020): overlaps are with the nearest object.
ERRORS = {
    "Cls": "an object found well, but named wrongly",
    "Loc": "the right name, but the box fits too badly (IoU .1 to .5)",
    "Both": "the wrong name and a badly fitting box",
    "Dupe": "an object found once more",
    "Bkg": "nothing there (IoU below .1)",
    "Miss": "an object that no detection came near",
}


def curve_table(
    matches: Sequence[ClassMatches], how: Conventions, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """{class: {"recall", "precision", "scores", "AP"}} at IoU 0.5, a point per detection, the best first.

    Without detections of what is to be ignored, and without the classes that have no object which counts.
    """
    curves = {classes[of_class.label - 1]: class_curve(of_class, how) for of_class in matches}
    return {
        name: {field: values.tolist() for field, values in vars(curve).items()}
        | {"AP": average_precision(curve, how.recalls)}
        for name, curve in curves.items()
    }


def find_errors(
    annotations: dict[str, Any], records: Sequence[Record], *, least_score: float = 0.5
) -> dict[str, Any]:
    """TIDE's kinds of errors and the confusion matrix, both by hotcoco at IoU 0.5.

    Args:
        annotations, records: checked already, as by `coco_ap.evaluate`.
        least_score: of the detections in the confusion matrix; TIDE counts all.
    Returns:
        "errors": {name of ERRORS: {"count", "AP lost": by how much AP50 would rise without them}},
        "classes": K names, "confusion": (K + 1, K + 1) counts, truth in rows, predictions in columns, the
        last of either being the background; "least_score".
    """
    images = [image["id"] for image in annotations["images"]]
    categories = [category["id"] for category in annotations["categories"]]
    columns = check_records(records, images, categories, "predictions")
    evaluation = hotcoco_evaluation(annotations, records, columns, "bbox")
    evaluation.evaluate()
    tide = evaluation.tide_errors()
    confusion = evaluation.confusion_matrix(min_score=least_score)
    counts, lost = tide["counts"], tide["delta_ap"]
    return {
        "errors": {name: {"count": counts[name], "AP lost": lost[name]} for name in ERRORS},
        "classes": confusion["cat_names"],
        "confusion": confusion["matrix"].astype(int).tolist(),
        "least_score": least_score,
    }


def describe_errors(found: dict[str, Any]) -> str:
    """The errors of `find_errors` for people, the costliest first, and the commonest confusions."""
    ranked = sorted(found["errors"].items(), key=lambda item: -item[1]["AP lost"])
    lines = [f"  {k:<5}{e['count']:>9}{100 * e['AP lost']:>8.2f}  {ERRORS[k]}" for k, e in ranked]
    matrix, names = np.array(found["confusion"])[:-1, :-1], found["classes"]
    np.fill_diagonal(matrix, 0)
    common = [divmod(int(i), len(names)) for i in np.argsort(-matrix, axis=None, kind="stable")[:5]]
    confused = [f"{names[t]} taken for {names[p]} {matrix[t, p]}" for t, p in common if matrix[t, p]]
    return "\n".join(
        [
            "Kinds of errors (TIDE): how many, and by how many points AP50 would rise without them:",
            *lines,
            f"Commonest confusions from a score of {found['least_score']}: {', '.join(confused) or 'none'}",
        ]
    )
