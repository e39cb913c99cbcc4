from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mlver.cli.text import escape, escape_block, width

EVERYTHING = "".join(map(chr, range(0x110000)))
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
INVISIBLE_OR_BIDI = re.compile(
    "[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


def test_of_all_characters_nothing_dangerous_is_left() -> None:
    for shown in (escape(EVERYTHING), escape_block(EVERYTHING).replace("\n", "")):
        assert not CONTROLS.search(shown)
        assert not INVISIBLE_OR_BIDI.search(shown)


@given(st.text(st.characters(codec=None, categories=None)))
def test_what_is_shown_can_be_encoded_and_measured(text: str) -> None:
    shown = escape(text)
    assert shown.encode().decode() == shown
    assert 0 <= width(shown) <= 2 * len(shown)
    assert escape(shown) == shown


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_printable_stays(text: str) -> None:
    assert escape(text) == text
