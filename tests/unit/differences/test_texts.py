from __future__ import annotations

import pytest

from mlver.differences.texts import TextChange, compare_texts
from mlver.differences.values import ValueChange


def values(path: str, before: str, after: str) -> tuple[ValueChange, ...]:
    found = compare_texts(path, before.encode(), after.encode())
    assert found is not None
    assert found.lines == ()
    return found.values


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("config.json", '{"a": {"b": 1}, "c": 2}', '{"c": 2,\n "a": {"b": 3}}'),
        ("x/CONFIG.YAML", "a:\n  b: 1\nc: 2\n", "# other\nc: 2\na: {b: 3}\n"),
        ("train.yml", "a: {b: 1}", "a: {b: 3}"),
        ("pyproject.toml", "[a]\nb = 1\n", "[a]\nb = 3 # more\n"),
    ],
)
def test_configurations_are_compared_key_by_key(path: str, before: str, after: str) -> None:
    assert values(path, before, after) == (ValueChange("a.b", "changed", 1, 3),)


def test_dates_and_numbers_that_json_lacks_become_text() -> None:
    assert values("a.toml", "d = 2024-01-31", "d = 2025-01-31")[0].after == "2025-01-31"
    assert values("a.json", '{"x": 1, "y": 1, "z": 1}', '{"x": NaN, "y": 1e999, "z": -Infinity}') == (
        ValueChange("x", "changed", 1, "NaN"),
        ValueChange("y", "changed", 1, "1e999"),
        ValueChange("z", "changed", 1, "-Infinity"),
    )
    assert values("a.yaml", "x: 1", "x: .inf")[0].after == "inf"


def test_other_text_is_a_unified_diff() -> None:
    before = "".join(f"line {n}\n" for n in range(100))
    found = compare_texts("train.py", before.encode(), before.replace("line 50\n", "changed\n").encode())
    assert found == TextChange(
        (), ("@@ -49,5 +49,5 @@", " line 48", " line 49", "-line 50", "+changed", " line 51", " line 52")
    )


@pytest.mark.parametrize("broken", ['{"a": ', "a: [", "[[["])
@pytest.mark.parametrize("path", ["a.json", "a.yaml", "a.toml"])
def test_what_cannot_be_parsed_is_compared_line_by_line(path: str, broken: str) -> None:
    found = compare_texts(path, b"[x]\n", broken.encode())
    assert found is not None
    assert found.lines[-1] == f"+{broken}"


def test_yaml_builds_plain_values_and_executes_nothing() -> None:
    found = compare_texts("a.yaml", b"a: 1\n", b"a: !!python/object/apply:os.getpid []\n")
    assert found is not None
    assert found.values == ()
    assert found.lines


def test_yaml_that_grows_when_written_out_is_text() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    found = compare_texts("a.yaml", b"a: 1\n", "\n".join(lines).encode())
    assert found is not None
    assert len(found.lines) == len(lines) + 2


def test_what_nests_too_deep_is_text() -> None:
    found = compare_texts("a.json", b"[]", b"[" * 100_000 + b"]" * 100_000)
    assert found is not None
    assert found.lines


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe\xfa", b"\x80abc"])
def test_bytes_are_no_text(data: bytes) -> None:
    assert compare_texts("a.json", b"{}", data) is None
    assert compare_texts("a.txt", data, b"text") is None


def test_too_many_changed_lines_are_not_compared() -> None:
    before, after = ("\n".join(f"{word} {n}" for n in range(30_000)).encode() for word in ("a", "b"))
    assert compare_texts("a.txt", before, after) is None
    assert compare_texts("a.txt", before, before + b"\nmore") is not None


def test_only_spaces_or_line_ends_differ() -> None:
    assert compare_texts("a.json", b'{"a":1}', b'{ "a": 1 }\n') == TextChange((), ())
    assert compare_texts("a.txt", b"a\nb\n", b"a\r\nb\r\n") == TextChange((), ())
