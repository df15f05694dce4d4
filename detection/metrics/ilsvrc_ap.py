"""Average precision as ILSVRC's development kit computes it for object detection (eval_detection.m, 2015).

A detection takes, of the objects of its class that none of higher confidence has taken, the one it overlaps
most among those whose own threshold it reaches; VOC's may only have the one it overlaps most of all. Small
objects have a lower threshold, since a few pixels beside the mark cost them more (Russakovsky et al. 2015,
§4.3). Average precision is the area under the precision envelope, as VOC's from 2010 on.
"""

from collections.abc import Collection, Sequence

import numpy as np

from detection.metrics.matching import Flags, Floats, Matched, Rows, flatten_all, match_ilsvrc
from detection.metrics.voc_ap import VocScores, check_pictures_match, scores_of
from detection.types import Prediction, Target

# The pictures and classes that do not count together: numbers of pictures from 0, labels 1…K.
VoidPairs = Collection[tuple[int, int]]

_MOST = 0.5  # of the thresholds
_MARGIN = 10.0  # pixels that a box may be wider and higher than its object


def evaluate(
    predictions: Sequence[Prediction],
    targets: Sequence[Target],
    num_classes: int,
    *,
    void_pairs: VoidPairs = (),
) -> VocScores:
    """Score predictions, one per target in the same order.

    Detections of equal score keep their order (picture by picture, then as predicted). Nothing is rounded.

    Args:
        num_classes: K; labels are 1…K.
        void_pairs: the development kit's blacklist. A class's detections in such a picture are neither hits
            nor false alarms, and its objects do not count.
    Returns:
        `num_objects` and the mean are without the objects that do not count.
    Raises:
        UserError: the pictures differ, or a label or score is not what it should be.
    """
    check_pictures_match(predictions, targets)
    return scores_of(match_pairs(*flatten_all(predictions, targets, num_classes), void_pairs))


def match_pairs(
    found: Rows, scores: Floats, truth: Rows, ignore: Flags, void_pairs: VoidPairs = ()
) -> Matched:
    """What each detection found; arguments as `flatten_all` gives them, and those of `evaluate`."""
    pairs = np.array(sorted(void_pairs), dtype=np.int64).reshape(-1, 2)
    void = pairs[:, 0] * (truth.num_classes + 1) + pairs[:, 1]
    ignore = ignore | np.isin(truth.group, void)
    match = match_ilsvrc(found, scores, truth, ignore, least_overlap(truth))
    return Matched(found, scores, truth, ignore, match[None], void=np.isin(found.group, void))


def least_overlap(truth: Rows) -> Floats:
    """(G,) the IoU from which on each object is found: w h / ((w + 10) (h + 10)), at most 0.5."""
    x1, y1, x2, y2 = truth.boxes
    width, height = x2 - x1, y2 - y1
    return np.minimum(_MOST, width * height / ((width + _MARGIN) * (height + _MARGIN)))
