"""Two command lines, argument by argument: an option is known by its name, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from mlver.differences.values import ValueChange


def compare_command_lines(key: str, before: Sequence[str], after: Sequence[str]) -> list[ValueChange]:
    """Return what changed between two command lines, by the names of options and then what belongs to none.

    Nobody here knows which options take a value: what follows one is taken for its value unless it is an option itself.
    An option without a value is `true`. Options may be given several times, in any order.

    Args:
        key: What the key of each change begins with: that of `--lr` is `KEY --lr`.
        before: The arguments, as the system hands them to a program.
        after: The same of the other one.
    """
    old, new = _by_option(before), _by_option(after)
    names = dict.fromkeys((*sorted(name for name in old.keys() | new.keys() if name), ""))
    changes = []
    for name in names:
        place = f"{key} {name}".rstrip()
        changes += [ValueChange(place, *change) for change in _compare(old.get(name, []), new.get(name, []))]
    return changes


def _by_option(arguments: Sequence[str]) -> dict[str, list[str | bool]]:
    """Return the values of each option, and under the empty name what belongs to none."""
    found: dict[str, list[str | bool]] = {}
    option = ""
    for argument in (*arguments, None):
        is_option = argument is not None and _is_option(argument)
        if option and (is_option or argument is None):
            found.setdefault(option, []).append(True)
        if argument is None or is_option:
            option, is_joined, value = (argument or "").partition("=")
            if is_joined:
                found.setdefault(option, []).append(value)
                option = ""
        else:
            found.setdefault(option, []).append(argument)
            option = ""
    return found


def _is_option(argument: str) -> bool:
    """Tell whether an argument is an option, and no negative number."""
    return argument.startswith("-") and argument.lstrip("-")[:1].isalpha()


def _compare(
    before: list[str | bool], after: list[str | bool]
) -> Iterator[tuple[str, str | bool | None, str | bool | None]]:
    """Yield kind, before and after of the values that only one of them has, the first with the first."""
    gone, came = _without(before, after), _without(after, before)
    for old, new in zip_longest(gone, came):
        yield "added" if old is None else "removed" if new is None else "changed", old, new


def _without(values: list[str | bool], others: list[str | bool]) -> list[str | bool]:
    left = list(others)
    found = []
    for value in values:
        if value in left:
            left.remove(value)
        else:
            found.append(value)
    return found
