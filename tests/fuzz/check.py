"""What must hold of any bytes: a layout whose promises hold or none, found with few reads and in little time."""

from __future__ import annotations

from mlver.formats import EXTERNAL_FORMATS, Beside, ExternalSave, ExternalTensor, diagnose
from tests.support.weight_files import BytesSource, assert_promises

_PLACED = Beside((ExternalTensor("w", "U8", (8,), "m.data", 4, 8), ExternalTensor("v", "U8", (8,), "m.data", 8, 8)))


def check(raw: bytes) -> None:
    """Read `raw` as a weight file, alone and as one in which another places tensors, or itself as what was saved.

    Raises:
        AssertionError: A promise is broken.
    """
    for others in (Beside(), _PLACED, Beside((ExternalSave("s", "m.data", 0, len(raw)),))):
        layout, problem = diagnose(BytesSource(raw), others)
        if layout is not None:
            assert_promises(layout, len(raw))
        assert problem is None or layout is None or layout.format in EXTERNAL_FORMATS
