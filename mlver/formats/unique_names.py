"""Names for the tensors of one file, no two of them equal: what is nested becomes one dotted name."""

from __future__ import annotations

from mlver.formats.layout import MAX_NAME_CHARACTERS, MAX_TENSORS, FormatError

MAX_ALL_NAMES_CHARACTERS = 1 << 26
LONE_TENSOR_NAME = "tensor"
"""The name of a tensor that was saved by itself."""


class UniqueNames:
    """The names given so far."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}
        self._characters = 0

    def add(self, name: str) -> str:
        """Return `name`, or `name#2`, `name#3`, … if it is taken.

        Raises:
            FormatError: The names are too many, or together too long.
        """
        unique = name
        while unique in self._taken:
            self._taken[name] += 1
            unique = f"{name}#{self._taken[name]}"
        self._taken[unique] = 1
        self._characters += len(unique)
        if len(self._taken) > MAX_TENSORS or self._characters > MAX_ALL_NAMES_CHARACTERS:
            raise FormatError("too many tensors, or their names are too long")
        return unique


def joined(prefix: str, part: str, separator: str = ".") -> str:
    """Return the name of what is called `part` inside of `prefix`.

    Raises:
        FormatError: It is too long.
    """
    if len(prefix) + len(part) >= MAX_NAME_CHARACTERS:
        raise FormatError("a name is too long")
    return f"{prefix}{separator}{part}" if prefix else part
