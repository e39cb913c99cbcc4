"""How a verb tells how far it is. What is done with it is the caller's affair."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one piece of work at a time. Called from one thread."""

    def start(self, total_bytes: int, what: str) -> None:
        """Work on `total_bytes` begins; `what` says what is done, such as `Adding model/`."""

    def advance(self, size_bytes: int) -> None:
        """So many more bytes are done."""

    def done(self) -> None:
        """The work ended, well or not."""


class Silent:
    """Progress that nobody watches."""

    def start(self, total_bytes: int, what: str) -> None:
        """Do nothing."""

    def advance(self, size_bytes: int) -> None:
        """Do nothing."""

    def done(self) -> None:
        """Do nothing."""
