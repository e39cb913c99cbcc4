"""What a repository is to say of one artifact, as a plain dictionary of cells: see `test_repository_model`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Cell = tuple[Any, ...]
Change = tuple[Cell, Any, Any]
"""A cell, its old and its new value."""


@dataclass
class Model:
    """One artifact."""

    name: str
    contents: list[int] = field(default_factory=list)
    cells: dict[Cell, Any] = field(default_factory=dict)
    events: list[list[Change]] = field(default_factory=list)
    undone: set[int] = field(default_factory=set)
    undoes: dict[int, int] = field(default_factory=dict)

    def live(self) -> list[int]:
        return [number for number in range(len(self.contents)) if not self.cells["removed", number]]

    def aliases(self) -> dict[str, int]:
        return {key[1]: to for key, to in self.cells.items() if key[0] == "alias" and to is not None}

    def keys(self, kind: str, number: int) -> dict[str, Any]:
        return {key[2]: to for key, to in self.cells.items() if key[:2] == (kind, number) and to is not None}

    def said_of(self, number: int) -> object:
        """Return what a signature on a version is about."""
        return self.name, number, self.contents[number], self.keys("meta", number), self.keys("metric", number)

    def do(self, changes: list[Change], undoes: int | None = None) -> None:
        changes = [change for change in changes if change[1] != change[2]]
        if not changes:
            return
        for cell, _, new in changes:
            self.cells[cell] = new
        if undoes is not None:
            self.undoes[len(self.events)] = undoes
        self.events.append(changes)
        self.name = self.cells["name",]

    def set(self, *pairs: tuple[Cell, Any]) -> None:
        self.do([(cell, self.cells.get(cell), new) for cell, new in pairs])

    def is_undone(self, number: int) -> bool:
        """Whether some undo of event `number` stands that was not undone itself."""
        return any(of == number and not self.is_undone(by) for by, of in self.undoes.items())

    def may_undo(self, number: int) -> bool:
        event = self.events[number]
        after = dict(self.cells)
        for cell, old, new in event:
            if self.cells[cell] != new:
                return False
            after[cell] = old if old is not None or cell[0] != "removed" else True
        named = [to for cell, to in after.items() if cell[0] == "alias" and to is not None]
        return not any(after["removed", to] for to in named)

    def undo(self, number: int) -> None:
        back = [
            (cell, new, True if old is None and cell[0] == "removed" else old) for cell, old, new in self.events[number]
        ]
        self.do(back, undoes=number)
