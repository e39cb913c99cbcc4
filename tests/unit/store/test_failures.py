"""What the operating system refuses, said in one line that helps."""

from __future__ import annotations

import errno
import os

import pytest

from mlver.errors import IntegrityError
from mlver.store.failures import hint_in, storage_error


@pytest.mark.parametrize("number", [errno.ELOOP, errno.ENOTDIR])
def test_a_link_in_a_store_is_damage(number: int) -> None:
    assert isinstance(storage_error(OSError(number, os.strerror(number)), "read", "packs/a"), IntegrityError)


def test_a_refusal_names_what_was_tried_and_what_helps() -> None:
    told = storage_error(OSError(errno.EMFILE, "Too many open files"), "write", "packs/a")
    assert told.message == f"Cannot write 'packs/a': {os.strerror(errno.EMFILE)}."
    assert told.hint == hint_in(f"/lib/libz.so: cannot open shared object file: {os.strerror(errno.EMFILE)}")
    assert told.hint is not None
    assert storage_error(OSError("strange"), "write", "packs/a").message == "Cannot write 'packs/a': strange."


def test_a_text_without_a_known_refusal_has_no_hint() -> None:
    assert hint_in("undefined symbol: ZSTD_compress") is None
