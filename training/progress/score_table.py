"""The scores of an evaluation as a small table, beside those of the evaluation before and of the best."""

from collections.abc import Mapping

Scores = Mapping[str, float | None]

WIDTH = 9  # of a column


def score_table(
    scores: Scores, *, per_cent: bool, before: Scores | None = None, best: Scores | None = None
) -> str:
    """A row for each score and a column for each of what is known; without the last line break.

    Scores named "<group>/<name>", such as "segm/AP", stand in columns beside those of the same name.

    Args:
        scores: of now; None is a score there was nothing for.
        per_cent: the scores are fractions, 0 … 1, and are shown in per cent.
        before: of the evaluation before, for a column of changes.
        best: of the best evaluation so far, if that is another one.
    """
    groups = dict.fromkeys(name.rpartition("/")[0] for name in scores)
    names = dict.fromkeys(name.rpartition("/")[2] for name in scores)
    width = max(map(len, [*names, "in %"]))
    head, rows = (
        "  " + ("in %" if per_cent else "").ljust(width),
        {name: f"  {name:<{width}}" for name in names},
    )
    for group in groups:
        head += f"{group or 'now':>{WIDTH}}"
        head += f"{'change':>{WIDTH}}" if before is not None else ""
        head += f"{'best':>{WIDTH}}" if best is not None else ""
        for name in names:
            full = f"{group}/{name}" if group else name
            value = scores.get(full)
            cells = [_text(value, per_cent)]
            if before is not None:
                cells.append(_change(before.get(full), value, per_cent))
            if best is not None:
                cells.append(_text(best.get(full), per_cent))
            rows[name] += "".join(f"{cell:>{WIDTH}}" for cell in cells)
    return "\n".join([head, *rows.values()])


def _text(value: float | None, per_cent: bool) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if per_cent else f"{value:.4g}"


def _change(before: float | None, now: float | None, per_cent: bool) -> str:
    if before is None or now is None:
        return "-"
    return f"{100 * (now - before):+.2f}" if per_cent else f"{now - before:+.4g}"
