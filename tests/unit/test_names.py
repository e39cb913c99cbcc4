from __future__ import annotations

import pytest

from mlver.errors import MlverError, UsageError
from mlver.names import (
    check_alias,
    check_artifact_name,
    check_artifact_type,
    check_path,
    check_tag,
    check_text,
    collisions,
    fold,
    parse_version,
    path_problem,
)

HOSTILE_PATHS = (
    *("", "/", "/etc/passwd", "//host/share", "..", ".", "../up", "a/../b", "a/./b", "a//b", "a/", "./a", "a/.."),
    *("C:/x", "C:x", "a:stream", "a\\b", "..\\up", "\\\\host\\share", "a\0b", "a\nb", "a\x7fb", "a\x85b", "a\x1b[2J"),
    *("NUL", "nul", "con.txt", "a/AUX", "com1", "COM1.tar.gz", "lpt9.x", "com¹", "conin$", "CONOUT$.txt", "nul .txt"),
    *("a.", "a ", "a./b", "a /b", "...", " ", "a\u202eb", "a\u200fb", "a\u2066b", "a\udc80b"),
    *('a"b', "a<b", "a>b", "a|b", "a?b", "a*b", "x" * 256, "é" * 128, "/".join(["a" * 20] * 200), "a/" * 256 + "a"),
)
HARMLESS_PATHS = (
    *(
        "a",
        "a/b",
        ".hidden",
        "a b",
        "a.b.c",
        "..a",
        "a..b",
        "console",
        "com10",
        "nul_",
        "lpt",
        "com",
        "-x",
        "~",
        "@",
        "#",
    ),
    *("a/" * 255 + "a", "/".join(["a" * 20] * 195)),
    *("model-00001-of-00002.safetensors", "ü/ß/漢字.bin", "x" * 255, "é" * 127, "a'b", "a,b;c=d&e+f[1]{2}(3)!$%^`"),
)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_path_that_would_not_survive_is_refused_by_name(path: str) -> None:
    with pytest.raises(MlverError) as caught:
        check_path(path)
    assert repr(path) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("path", HARMLESS_PATHS)
def test_other_paths_are_kept_as_they_are(path: str) -> None:
    assert path_problem(path) is None
    assert check_path(path) == path


@pytest.mark.parametrize("name", ["a", "resnet50_attn", "A.b-c_1", "v", "vv1", "v1x", "latest2", "Latest", "x" * 128])
def test_artifact_names(name: str) -> None:
    assert check_artifact_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a/b",
        "a:b",
        "a@b",
        "a~1",
        "a b",
        "é",
        "x" * 129,
        "latest",
        "v1",
        "V01",
        ".",
        "..",
        "a.",
        "nul",
        "COM1.x",
        "a\n",
    ],
)
def test_artifact_names_that_mean_something_else_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"not allowed|reserved"):
        check_artifact_name(name)


@pytest.mark.parametrize("alias", ["best", "prod-eu", "v", "v1.0", "été", "latest!", "x" * 128])
def test_aliases(alias: str) -> None:
    assert check_alias(alias) == alias
    assert check_tag(alias) == alias


@pytest.mark.parametrize("alias", ["latest", "v0", "v17", "V3", "v007"])
def test_reserved_aliases_are_refused(alias: str) -> None:
    with pytest.raises(UsageError, match="reserved"):
        check_alias(alias)


@pytest.mark.parametrize(
    "label",
    [
        "",
        "a/b",
        "a:b",
        "a@b",
        "a~1",
        "a,b",
        "a b",
        "a\tb",
        "a\\b",
        "-x",
        "x" * 129,
        "a\x1b[31m",
        "a\u202eb",
        "a\0",
        "\udc80",
    ],
)
def test_labels_that_revisions_could_not_hold_are_refused(label: str) -> None:
    with pytest.raises(UsageError, match="not allowed"):
        check_alias(label)
    with pytest.raises(UsageError, match="not allowed"):
        check_tag(label)


@pytest.mark.parametrize("kind", ["", "a/b", "a b", "x" * 129])
def test_types_have_the_same_letters_as_names(kind: str) -> None:
    with pytest.raises(UsageError, match="Type"):
        check_artifact_type(kind)


def test_a_type_may_be_a_word_that_no_name_may_be() -> None:
    assert check_artifact_type("latest") == "latest"


def test_text_in_another_encoding_is_refused() -> None:
    assert check_text("The note", "für 漢") == "für 漢"
    with pytest.raises(UsageError, match="The note is not valid UTF-8"):
        check_text("The note", "caf\udce9")


@pytest.mark.parametrize(
    ("text", "number"),
    [("v0", 0), ("v12", 12), ("v" + "9" * 18, 10**18 - 1), ("v", None), ("v01", None), ("V1", None), ("v-1", None),
     ("v1 ", None), ("v1\n", None), ("v٣", None), ("v" + "9" * 19, None), ("1", None)],
)  # fmt: skip
def test_version_names(text: str, number: int | None) -> None:
    assert parse_version(text) == number


@pytest.mark.parametrize(
    ("paths", "pairs"),
    [
        (["a", "A"], [("a", "A")]),
        (["A/x", "a/y"], [("A", "a")]),
        (["a/x", "a/y"], []),
        (["é", "e\u0301"], [("é", "e\u0301")]),
        (["straße", "STRASSE"], [("straße", "STRASSE")]),
        (["x/K", "x/k", "y/k"], [("x/K", "x/k")]),
        (["K", "k"], [("K", "k")]),  # the first is the Kelvin sign
        (["ab", "a", "a/b"], []),
    ],
)
def test_collisions_on_a_filesystem_that_folds(paths: list[str], pairs: list[tuple[str, str]]) -> None:
    assert collisions(paths) == pairs


def test_folding_is_stable() -> None:
    for text in ("Å", "ﬀ", "ΐ", "ǰ", "İ"):
        assert fold(fold(text)) == fold(text) == fold(text.lower()) or text == "İ"


@pytest.mark.parametrize("path", ["a/MLVER~1/x", "mlver~1", ".ml\u200cver/x", ".MLVER./x", ".mlver /x"])
def test_what_some_systems_take_for_the_repositorys_folder_is_refused(path: str) -> None:
    assert "some systems take for .mlver" in (path_problem(path) or "")
