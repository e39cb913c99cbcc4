"""How caches write: so that a power cut never makes them say what is not so."""

from __future__ import annotations

import pytest

from tests.fault.commands import named
from tests.fault.scene import prepare
from tests.fault.tracing import missing_tools
from tests.support.places import quick_folder

pytestmark = pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))


def test_no_journal_is_used_twice() -> None:
    """What a journal held before may show again beside what was written last, and would be played back."""
    with quick_folder() as folder:
        calls = prepare(named("push"), folder.resolve() / "scene").calls
    journals = [call for call in calls if call.paths and call.paths[0].endswith(".sqlite-journal")]
    assert [call.name for call in journals].count("unlink") >= 2
    assert "ftruncate" not in {call.name for call in journals}
