from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest

from mlver.cli.output import Column, Mode, Output, Styled
from mlver.cli.terminal import Terminal

COLUMNS = [Column("version"), Column("size", "right"), Column("message", elastic=True)]


def _output(mode: Mode = Mode.HUMAN, **terminal: Any) -> Output:
    return Output(mode, io.StringIO(), io.StringIO(), Terminal(**terminal), {})


def _written(out: Output) -> tuple[str, str]:
    return out._stdout.getvalue(), out.stderr.getvalue()  # type: ignore[attr-defined]


def _document(names: list[str]) -> Mapping[str, Any]:
    return {"names": names}


def _brief(names: list[str]) -> list[str]:
    return names


def _human(out: Output, names: list[str]) -> None:
    out.line("names: ", *names)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        (Mode.HUMAN, "names: a\\x1bé\n"),
        (Mode.QUIET, "a\\x1b\né\n"),
        (Mode.JSON, '{"names": ["a\\u001b", "\\u00e9"]}\n'),
    ],
)
def test_result_is_rendered_once_in_the_mode(mode: Mode, text: str) -> None:
    out = _output(mode)
    out.result(["a\x1b", "é"], document=_document, brief=_brief, human=_human)
    assert _written(out) == (text, "")


def test_json_is_one_document_and_refuses_nan() -> None:
    out = _output(Mode.JSON, interactive=True)
    out.json({"metric": 0.5})
    assert json.loads(_written(out)[0]) == {"metric": 0.5}
    with pytest.raises(ValueError, match="JSON compliant"):
        out.json({"metric": float("nan")})


@pytest.mark.parametrize(("mode", "told"), [(Mode.HUMAN, 3), (Mode.QUIET, 1), (Mode.JSON, 1)])
def test_talk_goes_to_stderr_and_scripts_get_warnings_only(mode: Mode, told: int) -> None:
    out = _output(mode)
    out.note("done \x1b")
    out.hint("do")
    out.warn("care\n")
    data, talk = _written(out)
    assert (data, talk.count("\n")) == ("", told)
    assert "\x1b" not in talk
    assert "Warning: care\\n\n" in talk


def test_plain_table_is_aligned_whole_and_escaped() -> None:
    out = _output()
    out.table(COLUMNS, [[Styled("v10", "name"), "1.2 GB", "x" * 300], ["v9", "12 B", "模\x1b[2J"]])
    assert _written(out)[0].splitlines() == [
        "version    size  message",
        f"v10      1.2 GB  {'x' * 300}",
        "v9         12 B  模\\x1b[2J",
    ]


def test_empty_table_is_nothing() -> None:
    out = _output()
    out.table(COLUMNS, [])
    assert _written(out) == ("", "")


def test_row_of_another_length_is_a_bug() -> None:
    with pytest.raises(ValueError, match="zip"):
        _output().table(COLUMNS, [["v1", "1 B", "m"], ["v2"]])


def test_colour_only_where_wanted_and_outside_of_the_text() -> None:
    out = _output(colour=True)
    out.line(Styled("a\x1b[0m", "bad"), "b")
    assert _written(out)[0] == "\x1b[1;31ma\\x1b[0m\x1b[0mb\n"


def test_fields_and_blocks() -> None:
    out = _output()
    out.fields([("id", "x"), ("created", "now")])
    out.block("one\ntwo\x1b", indent="    ")
    assert _written(out)[0] == "id       x\ncreated  now\n    one\n    two\\x1b\n"


def test_nothing_is_paged_for_scripts() -> None:
    out = _output(Mode.JSON, pager="no-such-pager", pager_chosen=True)
    with out.paged():
        out.json({})
    assert _written(out) == ("{}\n", "")
