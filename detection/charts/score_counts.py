"""How many detections and hits are left from each score on, which precision, recall and F1 follow from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detection.metrics.conventions import ClassMatches
from detection.metrics.matching import Flags, Floats, Indices


@dataclass(frozen=True)
class ScoreCounts:
    """What is left of a class, or of several together, when detections below a least score are dropped.

    Detections are matched in order of score, so those that are dropped change nothing for those that stay.
    Detections of ignored objects are left out.

    Attributes:
        scores: (S,) the different scores, the highest first; each is taken for the least score in turn.
        hits, kept: (S,) objects found, and detections left.
        objects: that count.
    """

    scores: Floats
    hits: Indices
    kept: Indices
    objects: int

    @property
    def precision(self) -> Floats:
        """(S,) hits over detections."""
        return self.hits / self.kept

    @property
    def recall(self) -> Floats:
        """(S,) hits over objects."""
        return self.hits / self.objects

    @property
    def f1(self) -> Floats:
        """(S,) the harmonic mean of precision and recall."""
        return 2 * self.hits / (self.kept + self.objects)

    def at(self, least: Floats) -> "ScoreCounts":
        """The counts at other least scores (T,) in place of the class's own."""
        place = np.searchsorted(-self.scores, -least, side="right")
        return ScoreCounts(
            least, np.append(0, self.hits)[place], np.append(0, self.kept)[place], self.objects
        )

    def row(self, index: int) -> "ScoreCounts":
        """The counts at one of the scores, as arrays of one."""
        one = slice(index, index + 1)
        return ScoreCounts(self.scores[one], self.hits[one], self.kept[one], self.objects)


def counts_of_class(matches: ClassMatches, threshold: int = 0) -> ScoreCounts:
    """Of one class, at one of the overlaps it was matched with, by its number."""
    counts = matches.counts[threshold]
    return _counts(matches.scores[counts], matches.hit[threshold][counts], int(matches.objects.sum()))


def counts_together(classes: Sequence[ClassMatches], threshold: int = 0) -> ScoreCounts:
    """Of all these classes together, with one least score for all: hits, detections and objects added up."""
    counts = [of_class.counts[threshold] for of_class in classes]
    scores = [of_class.scores[chosen] for of_class, chosen in zip(classes, counts, strict=True)]
    hits = [of_class.hit[threshold][chosen] for of_class, chosen in zip(classes, counts, strict=True)]
    objects = sum(int(of_class.objects.sum()) for of_class in classes)
    return _counts(
        np.concatenate([np.zeros(0), *scores]), np.concatenate([np.zeros(0, bool), *hits]), objects
    )


def _counts(scores: Floats, hit: Flags, objects: int) -> ScoreCounts:
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(hit[order], dtype=np.int64)
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], np.ones(min(1, len(scores)), dtype=bool)))
    return ScoreCounts(scores[last], hits[last], last + 1, objects)
