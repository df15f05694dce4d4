"""What a search of pictures is worth: ILSVRC's localization errors, as result.json holds them."""

from typing import Any

from detection.localization.box_lists import BoxLists
from detection.localization.class_guesses import Guesses, best_boxes
from detection.localization.one_class_pictures import OneClassPictures
from detection.metrics.bootstrap import bootstrap_mean
from detection.metrics.localization_error import evaluate, whole_picture_error
from foundation.errors import plural

NAMES = {
    "oracle_error": "error with the true class",
    "whole_picture_error": "that of the whole picture's box",
    "top1_error": "error of one guess",
    "top5_error": "error of five guesses",
    "classification_top1_error": "classification, one guess",
    "classification_top5_error": "classification, five guesses",
}


def localization_result(
    lists: BoxLists, pictures: OneClassPictures, guesses: Guesses | None, *, resamples: int = 0
) -> dict[str, Any]:
    """The errors of the best boxes, 0 … 1.

    Args:
        lists: boxes of every picture's class, and of the guessed ones.
        guesses: of a classifier; without, only the errors with the true class are known.
        resamples: of the pictures, for 95 % intervals; 0 leaves them out.
    Returns:
        {"metric": "localization", "scores": {name: 0…1}, "intervals": {name: [low, high]}}, the names of
        `NAMES`. "oracle_error" is the column "LOC error on GT CLS" of He et al. 2015, Table 13, "top5_error"
        its last.
    """
    truth = (pictures.targets, pictures.image_labels)
    counted: dict[str, Any] = {"left_out": pictures.left_out}
    own = [[label] for label in pictures.image_labels]
    found = {"oracle_error": evaluate(best_boxes(lists, pictures, own), *truth, **counted).wrong}
    found["whole_picture_error"] = whole_picture_error(*truth, **counted).wrong
    if guesses is not None:
        answers = best_boxes(lists, pictures, guesses)
        for most in (1, 5):
            scores = evaluate(answers, *truth, **counted, most=most)
            found[f"top{most}_error"] = scores.wrong
            found[f"classification_top{most}_error"] = scores.misclassified
    result: dict[str, Any] = {
        "metric": "localization",
        "scores": {name: float(wrong.mean()) for name, wrong in found.items()},
        "pictures": len(found["oracle_error"]),
    }
    if resamples:
        intervals = {name: bootstrap_mean(wrong, resamples=resamples) for name, wrong in found.items()}
        result["intervals"] = {name: [interval.low, interval.high] for name, interval in intervals.items()}
    return result


def describe_localization(result: dict[str, Any]) -> str:
    """The result as a few lines for people, in per cent."""
    lines = [f"localization error in % of {plural(result['pictures'], 'picture')}"]
    for name, value in result["scores"].items():
        line = f"  {NAMES[name]:<34}{100 * value:>7.2f}"
        if name in result.get("intervals", {}):
            low, high = result["intervals"][name]
            line += f"  ({100 * low:.2f} to {100 * high:.2f})"
        lines.append(line)
    return "\n".join(lines)
