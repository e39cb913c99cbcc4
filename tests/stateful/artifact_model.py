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

    def set_aliases(self) -> dict[str, int]:
        """Return where the aliases are that somebody put there."""
        return {key[1]: to for key, to in self.cells.items() if key[0] == "alias" and to is not None}

    def tracked(self) -> dict[str, str]:
        """Return what the aliases follow that move by themselves."""
        return {key[1]: rule for key, rule in self.cells.items() if key[0] == "track" and rule is not None}

    def is_protected(self, alias: str) -> bool:
        return bool(self.cells.get(("protect", alias)))

    def aliases(self) -> dict[str, int]:
        followed = {alias: self._best(rule) for alias, rule in self.tracked().items()}
        return self.set_aliases() | {alias: to for alias, to in followed.items() if to is not None}

    def _best(self, rule: str) -> int | None:
        """Return the oldest of the best versions that have the metric, `max(m)` or `min(m)`."""
        sign = 1 if rule.startswith("max") else -1
        values = {n: sign * self.cells["metric", n, "m"] for n in self.live() if "m" in self.keys("metric", n)}
        return max(values, key=lambda number: (values[number], -number), default=None)

    def dropped(self, numbers: list[int]) -> list[tuple[Cell, Any]]:
        """Return what becomes of the aliases of versions that are removed: those that follow something move on."""
        going = [alias for alias, to in self.set_aliases().items() if to in numbers]
        return [((kind, alias), None) for kind in ("alias", "protect") for alias in going]

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
        let_follow = {cell[1] for cell, _, _ in event if cell[0] == "track"}
        if any(cell[1] in self.tracked().keys() - let_follow for cell, _, _ in event if cell[0] == "alias"):
            return False
        for cell, old, new in event:
            if self.cells[cell] != new:
                return False
            after[cell] = old if old is not None or cell[0] != "removed" else True
        named = [to for cell, to in after.items() if cell[0] == "alias" and to is not None]
        return not any(after["removed", to] for to in named)

    def would_move_protected(self, number: int) -> bool:
        """Whether taking an event back moves an alias that is protected, which takes who insists."""
        return any(cell[0] == "alias" and self.is_protected(cell[1]) for cell, _, _ in self.events[number])

    def undo(self, number: int) -> None:
        event = self.events[number]
        back = [(cell, new, True if old is None and cell[0] == "removed" else old) for cell, old, new in event]
        gone = [cell[1] for cell, _, old in back if cell[0] == "alias" and old is None]
        back += [(("protect", alias), True, None) for alias in gone if self.is_protected(alias)]
        self.do(list(dict.fromkeys(back)), undoes=number)
