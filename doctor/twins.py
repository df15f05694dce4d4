"""Equal and nearly equal pictures, within a set and between sets."""

from collections.abc import Iterator, Sequence

import numpy as np

from doctor.findings import Finding, find
from doctor.picture_checks import PictureFacts
from doctor.survey import Survey

DISTANCE = 7  # differing bits of 256
BANDS = 8  # more than DISTANCE: of two hashes so near, at least one band is equal
# Neighbours in a band's order that a picture is compared with: the work stays linear where many look alike.
NEIGHBOURS = 50


def check_twins(surveys: Sequence[Survey], facts: Sequence[Sequence[PictureFacts]]) -> list[Finding]:
    """Duplicates inside sets and leaks between them; `facts` are of every survey's pictures."""
    places = [(s, p) for s, rows in enumerate(facts) for p in range(len(rows))]
    flat = [row for rows in facts for row in rows]
    pairs = dict(_alike(flat))
    first_of: dict[bytes, int] = {}
    for index, fact in enumerate(flat):
        if fact.digest is not None and first_of.setdefault(fact.digest, index) != index:
            pairs[first_of[fact.digest], index] = -1
    findings = []
    for (first, second), distance in sorted(pairs.items()):
        (s, p), (t, q) = places[first], places[second]
        a, b = surveys[s].pictures[p], surveys[t].pictures[q]
        if a.path == b.path and s == t:
            continue  # duplicate_file_name says so
        how = "the same bytes as" if distance < 0 else f"looks like ({distance} of 256 bits differ)"
        other = a.where if s == t else f"{a.where} of {surveys[s].name}"
        if surveys[s].is_apart(surveys[t]):
            check = "leak" if distance < 0 else "near_leak"
        else:
            check = "duplicate_picture" if distance < 0 else "near_duplicate_picture"
        findings.append(find(check, b.where, f"{how} {other}"))
    return findings


def _alike(facts: Sequence[PictureFacts]) -> Iterator[tuple[tuple[int, int], int]]:
    """Pairs of files of different bytes whose looks are within DISTANCE, with that."""
    seen: set[bytes] = set()
    rows, hashes = [], []
    for index, fact in enumerate(facts):
        if fact.look is not None and fact.digest is not None and fact.digest not in seen:
            seen.add(fact.digest)
            rows.append(index)
            hashes.append(fact.look)
    if len(rows) < 2:
        return
    looks = np.stack(hashes)
    words = looks.view(np.uint32)
    for band in range(BANDS):
        order = np.argsort(words[:, band], kind="stable")
        sorted_words = words[order, band]
        for shift in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            equal = np.flatnonzero(sorted_words[shift:] == sorted_words[:-shift])
            if not len(equal):
                break
            first, second = order[equal], order[equal + shift]
            distances = np.unpackbits(looks[first] ^ looks[second], axis=1).sum(axis=1, dtype=np.int64)
            for at in np.flatnonzero(distances <= DISTANCE):
                low, high = sorted((rows[first[at]], rows[second[at]]))
                yield (low, high), int(distances[at])
