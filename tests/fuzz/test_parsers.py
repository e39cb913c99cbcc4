"""Every parser of foreign bytes meets changed good ones and plain nonsense; what atheris found stays fixed."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import PARSERS, check
from tests.support.process import PROJECT

CRASHES = sorted((Path(__file__).parent / "parser_crashes").glob("*"))
LIMIT_SECONDS = 5.0
SOME_REFUSED = ("plan", "revision", "name", "frame", "statement", "address", "query")
"""Not all good input of these is accepted: what is refused is worth changing, too."""
_TOKENS = st.sampled_from(
    [
        *(b"", b"\0", b"\xff", b"[", b"]", b"{", b"}", b'"', b"\\", b"@", b":", b"'", b"../", b"\r\n", b"%00", b"null"),
        *(b"-1", b"1e999", b"4611686018427387904", b"\xff" * 8, b"\0" * 8, b"\xc3\x28", b"\xed\xa0\x80"),
        *(b"(" * 300, b"[" * 3000, b"~" * 50),
    ]
)


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """Return a good input with up to four places cut, doubled, or replaced."""
    raw = draw(st.sampled_from(PARSERS[name].seeds()))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(raw)))
        end = draw(st.integers(start, min(len(raw), start + draw(st.sampled_from([0, 1, 8, len(raw)])))))
        raw = raw[:start] + draw(_TOKENS | st.binary(max_size=9) | st.just(raw[start:end] * 2)) + raw[end:]
    return raw


def test_one_command_fuzzes_them_all() -> None:
    listed = re.search(r"^parsers=\((.*)\)$", (PROJECT / "dev/fuzz").read_text(), re.MULTILINE)
    assert listed is not None
    assert listed[1].split() == list(PARSERS)


@pytest.mark.parametrize("name", PARSERS)
def test_good_input_is_read(name: str) -> None:
    for raw in PARSERS[name].seeds():
        if name not in (
            "plan",
            "revision",
            "name",
            "frame",
            "statement",
            "address",
            "query",
        ):  # of these some are refused
            PARSERS[name].parse(raw)
        check(name, raw)


@pytest.mark.parametrize("name", PARSERS)
def test_no_input_does_more_than_be_refused(name: str) -> None:
    @settings(max_examples=150)
    @given(st.one_of(changed(name), changed(name), st.binary(max_size=200)))
    def meet(raw: bytes) -> None:
        before = time.process_time()
        check(name, raw)
        assert time.process_time() - before < LIMIT_SECONDS

    meet()


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.name)
def test_what_fuzzing_found_stays_fixed(path: Path) -> None:
    name = max((name for name in PARSERS if path.name.startswith(f"{name}-")), key=len)
    check(name, path.read_bytes())
