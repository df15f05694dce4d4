"""Errors that are the user's to fix."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A problem the user can fix; the message names the value, what was expected and the remedy.

    Command lines print the message without a traceback and leave with `exit_status`. Packages that cannot
    import this module give their own exceptions the same attribute.
    """

    exit_status = 2


def suggest(name: str, choices: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the closest choice, or all of them."""
    choices = list(choices)
    close = get_close_matches(name, choices, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; choose from {', '.join(choices)}"
