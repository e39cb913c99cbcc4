"""Programs that commands are given to run: whether they are there, before anything else is done."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from mlver.errors import NotFoundError, UsageError


def check_program(program: str, example: str) -> None:
    """Refuse a command that cannot run.

    Args:
        program: The first word of it.
        example: How it is given.

    Raises:
        UsageError: It is empty.
        NotFoundError: There is no such program, or it may not be executed.
    """
    hint = f"Write it after --: {example}"
    if not program:
        raise UsageError("The command is empty.", hint)
    if shutil.which(program) is None:
        if os.sep in program and Path(program).is_file():
            hint = f"Name its interpreter, or: chmod +x {shlex.quote(program)}"
            raise NotFoundError(f"{program!r} may not be executed.", hint)
        raise NotFoundError(f"There is no program {program!r}.", hint)
