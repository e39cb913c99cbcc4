"""What the process is talking to: decided once from the streams and the environment, then passed on as a value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TextIO


class Terminal(NamedTuple):
    """What may be done on standard output and standard error.

    Attributes:
        interactive: Standard output is a terminal that can do more than print: tables fit it, long output is paged.
        colour: Standard output may be coloured.
        bars: Standard error may show progress bars.
        talk_colour: Standard error may be coloured.
        pager: Command line of the pager; empty for none.
        pager_chosen: The person chose that pager, so its absence is worth a warning.
    """

    interactive: bool = False
    colour: bool = False
    bars: bool = False
    talk_colour: bool = False
    pager: str = ""
    pager_chosen: bool = False


def detect(stdout: TextIO, stderr: TextIO, environment: Mapping[str, str]) -> Terminal:
    """Return what the streams are, and what the person wants.

    Source: https://no-color.org; `PAGER` as git reads it (`MLVER_PAGER` comes first, empty or `cat` is none).
    """
    capable = environment.get("TERM", "") not in ("", "dumb")
    colourful = capable and not environment.get("NO_COLOR")
    interactive = capable and stdout.isatty()
    chosen = environment.get("MLVER_PAGER", environment.get("PAGER"))
    pager = "less" if chosen is None else chosen.strip()
    return Terminal(
        interactive=interactive,
        colour=interactive and colourful,
        bars=colourful and stderr.isatty(),
        talk_colour=colourful and stderr.isatty(),
        pager="" if pager == "cat" or not interactive else pager,
        pager_chosen=chosen is not None,
    )
