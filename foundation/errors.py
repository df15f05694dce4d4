"""Errors that are the user's to fix."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A problem the user can fix; the message names the value, what was expected and the remedy.

    Command lines print the message without a traceback and leave with `exit_status`.
    """

    exit_status = 2


class OptionError(UserError):
    """An unknown name or an impossible option of a network; the message says what to write instead."""


class NoAttributeError(OptionError, AttributeError):
    """What a network with these options does not have; an AttributeError too, so that `hasattr` says no."""


class WeightsError(UserError):
    """A weight file that cannot be used; the message says why and what to do."""


class ExportError(UserError):
    """An exported file that does not compute what its network does."""


def plural(count: int, one: str, several: str = "") -> str:
    """A count in a message: "1 picture", "2 pictures", "12,000 pictures"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def suggest(name: str, choices: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the closest choice, or all of them."""
    choices = list(choices)
    close = get_close_matches(name, choices, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(choices)}"


def first_difference(ours: Iterable[object], theirs: Iterable[object]) -> str:
    """For an error about two lists: ", the first that differ are 'a' and 'b'", or "" where one ends early."""
    for a, b in zip(ours, theirs, strict=False):
        if a != b:
            return f", the first that differ are {a!r} and {b!r}"
    return ""


def check_choice(option: str, value: object, choices: Iterable[str]) -> None:
    """Raises an OptionError, which names the closest choice, if a value is not among the choices."""
    known = list(choices)
    if value not in known:
        raise OptionError(f"unknown {option} {value!r}{suggest(str(value), known)}")
