"""What surrounds a process that uses the Python API: the run it is part of, and the other processes of its training.

Nothing else of the API reads the environment, or sets anything in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from mlver.ops.runs.current import RUN_VARIABLE
from mlver.ops.runs.provenance import Caller

_RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID", "LOCAL_RANK")
"""How torchrun, MPI and Slurm number the processes of one training."""


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ  # noqa: TID251 - this module is the one place for it


def run_variable() -> str | None:
    """Return what names the run that this process is part of, if it is part of one."""
    return environment().get(RUN_VARIABLE)


def set_run_variable(text: str | None) -> None:
    """Let processes that this one starts be part of a run, or (None) of none."""
    if text is None:
        os.environ.pop(RUN_VARIABLE, None)  # noqa: TID251
    else:
        os.environ[RUN_VARIABLE] = text  # noqa: TID251


def speaks() -> bool:
    """Tell whether this process speaks for its training: of many that do the same, the one of rank 0 does."""
    rank = next((environment()[name] for name in _RANKS if environment().get(name)), "0")
    return not rank.isdecimal() or int(rank) == 0


def has_failed() -> bool:
    """Tell whether this process, which is about to end, ends by an exception. In a session, where many come by, not."""
    is_session = hasattr(sys, "ps1") or "IPython" in sys.modules
    return not is_session and getattr(sys, "last_value", None) is not None


def caller() -> Caller:
    """Return what a version that this process adds is recorded to come from."""
    from mlver.lineage.capture.secrets import masked_arguments, secret_values

    return Caller(Path.cwd(), environment(), masked_arguments(own_command(), secret_values(environment())))


def own_command() -> list[str]:
    """Return the command line of this process."""
    return list(sys.orig_argv) or [sys.executable]
