from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mlver.cli.text import escape, escape_block, width

DANGEROUS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


@given(st.text(st.characters(codec=None, categories=None)))
def test_nothing_dangerous_is_left(text: str) -> None:
    shown = escape(text)
    assert not DANGEROUS.search(shown)
    assert shown.encode().decode() == shown
    assert width(shown) >= 0


@given(st.text())
def test_blocks_have_no_control_but_line_breaks(text: str) -> None:
    assert not DANGEROUS.search(escape_block(text).replace("\n", ""))


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_printable_stays(text: str) -> None:
    assert escape(text) == text
