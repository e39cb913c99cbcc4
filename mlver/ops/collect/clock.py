"""What time it is by the store's own clock, and whether that clock was set meanwhile.

Ages are differences between times that the store gave to files, so a machine with a wrong clock does no harm. On a disk
of its own, the store's clock is the machine's, which someone may have set. So each collection leaves a file behind that
says what the time was and how long the machine had been up; the next one believes the clock only as far as the machine
was up longer since. That it was, nobody can set.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from mlver.digests import canonical_json
from mlver.errors import MlverError, NotFoundError
from mlver.store.aside import AsideStorage

COLLECTED_NAME = "collected"
"""Its presence says that something may have been deleted from this repository."""
_DRIFT = 100
"""Part by which two sound clocks may differ in how fast they go, and by what they may differ besides, below."""
_SLACK_NS = 5_000_000_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def start_collection(storage: AsideStorage) -> int:
    """Return the time in nanoseconds by the store's clock, and leave word that a collection began.

    The time may be earlier than it is, never later but for what was set between two starts of the machine.

    Raises:
        MlverError: The storage fails.
    """
    boot, up_ns = _boot(), _up_ns()
    now_ns = _bounded(storage, boot, up_ns, storage.now_ns())
    _leave_word(storage, canonical_json({"boot": boot, "now": now_ns, "up": up_ns}) + b"\n")
    return now_ns


def _leave_word(storage: AsideStorage, word: bytes) -> None:
    try:
        storage.put(COLLECTED_NAME, word)
    except MlverError:
        # On a full disk, an empty file may have room where one with content has none, and says what matters most.
        if not storage.exists(COLLECTED_NAME):
            storage.create(COLLECTED_NAME, b"")


def _bounded(storage: AsideStorage, boot: str, up_ns: int, now_ns: int) -> int:
    """Return a time that is not further from the last collection's than the machine was up since."""
    try:
        document = json.loads(storage.read(COLLECTED_NAME))
        before, was_up, was_boot = document["now"], document["up"], document["boot"]
        if type(before) is not int or type(was_up) is not int:
            raise TypeError(before)
    except NotFoundError:
        return now_ns
    except (ValueError, LookupError, TypeError, RecursionError):
        return now_ns  # it is not what this program writes, and will be
    if not boot or boot != was_boot:
        return now_ns
    elapsed_ns = max(0, up_ns - was_up)
    return min(now_ns, before + elapsed_ns + elapsed_ns // _DRIFT + _SLACK_NS)


def _boot() -> str:
    """Return a name of the time since this machine was started; empty if it has none."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _up_ns() -> int:
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
