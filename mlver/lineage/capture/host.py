"""The machine: its name, system, processor, memory and graphics cards."""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlver.lineage.capture.processes import ask

_GPU_FIELDS = "name,memory.total,driver_version"
_GPU_SECONDS = 5.0
_DRIVER_FOLDER = Path("/proc/driver/nvidia/gpus")
_CPU_INFO = Path("/proc/cpuinfo")
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def host() -> dict[str, Any]:
    """Return the machine's `name`, `system` and `machine`, such as `x86_64`."""
    names = os.uname()
    return {"name": names.nodename, "system": f"{names.sysname} {names.release}", "machine": names.machine}


def user() -> str | None:
    """Return the name of the user; None if the system has none for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a passwd entry for its user
        return None


def hardware(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return `cpu` (text or null), `cores` that may be used, `memory_bytes` (or null), and `gpus`.

    A graphics card is an object with `name`, and where the driver's own program tells it `memory_bytes` and `driver`.

    Args:
        environment: For the driver's program.
    """
    return {
        "cpu": _processor(),
        "cores": _cores(),
        "memory_bytes": _memory_bytes(),
        "gpus": _asked_gpus(environment) or _listed_gpus(),
    }


def _processor() -> str | None:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _CPU_INFO.read_text(encoding="utf-8", errors="replace"), re.M)
    except OSError:
        found = None
    return found[1].strip() if found else platform.machine() or None


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):  # the system does not tell
        return None
    for limit in _MEMORY_LIMITS:
        try:
            total = min(total, int(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    return total


def _asked_gpus(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    program = shutil.which("nvidia-smi", path=environment.get("PATH", os.defpath))
    if program is None:
        return []
    query = [program, f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader,nounits"]
    answer = ask(query, environment, max_bytes=1 << 20, seconds=_GPU_SECONDS)
    lines = answer.output.decode("utf-8", "replace").splitlines() if answer.problem is None else []
    return [_gpu([field.strip() for field in line.split(",")]) for line in lines if line.count(",") == 2]


def _gpu(fields: list[str]) -> dict[str, Any]:
    name, mebibytes, driver = fields
    memory = {"memory_bytes": int(mebibytes) << 20} if mebibytes.isdecimal() else {}
    return {"name": name, "driver": driver, **memory}


def _listed_gpus() -> list[dict[str, Any]]:
    found = []
    for card in sorted(_DRIVER_FOLDER.glob("*/information")):
        try:
            model = re.search(r"^Model:\s*(.+)$", card.read_text(encoding="utf-8", errors="replace"), re.M)
        except OSError:
            continue
        if model:
            found.append({"name": model[1].strip()})
    return found
