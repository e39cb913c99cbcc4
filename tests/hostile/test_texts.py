"""Escape sequences, bidi controls, HTML and Markdown in whatever text comes from others, in every renderer."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

from mlver.history.event import AddVersion, MoveAlias, SetNote, SetTag, SetValue
from mlver.ids import ManifestId
from tests.cli.conftest import Person
from tests.support.forging import Forgery
from tests.support.weight_files import entry, safetensors_file

ESCAPES = "\x1b[31m\x1b]0;title\x07\x1b]8;;http://evil\x1b\\\x9b2J\x08\x0d\x7f"
BIDI = "\u202e\u2066\u200f\u061c\ufeff\u00ad\u2028\u2029\U000e0041"
MARKUP = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> &rlm;&#x202e; [x](javascript:x) ![](http://evil) `a` | *b*"
)
EVIL = f"{ESCAPES}{BIDI}{MARKUP}\n# heading\n````\n</details>"
COMMANDS = [
    "log net", "log net --oneline", "log net --metrics", "log --all", "show net:v0", "show net:v1", "note net:v0",
    "meta net:v0", "reflog net", "alias", "diff net:v0 net:v1", "diff net:v0 net:v1 --stat",
    "compare net:v0 net:v1", "ls", "ls net:v0", "du", "verify",
    "rm net:v0 --dry-run", "gc --dry-run", "gc --plan", "remote", "retain", "status nowhere",
    "show net:nothing", "tag net:v0 --remove nothing",
]  # fmt: skip


@pytest.fixture(scope="module")
def eve(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """A person in a repository all of whose texts are hostile."""
    forged = Forgery(tmp_path_factory.mktemp("texts") / "evil")
    identity = ""
    for number, content in enumerate((b'{"lr": 1, "%s": "%s"}', b'{"lr": 2, "%s": "x%s"}')):
        inside = json.dumps(EVIL)[1:-1].encode()
        text = content % (inside, inside)
        table = f'id,name\n1,"{EVIL}"\n2,{number}\n'.encode()
        lines = (EVIL + f"\nline {number}\n").encode()
        identity = forged.add(files={"a.json": text, "b.csv": table, "c.txt": lines, "w": bytes([number]) * 4})
    said = AddVersion(
        2, ManifestId(identity), 1, 1, 1, 1, 0, message=EVIL, tags=[EVIL], metrics={EVIL: 1.0},
        metadata={EVIL: EVIL, "deep": {EVIL: [EVIL]}}, provenance={EVIL: EVIL, "command": [EVIL]},
    )  # fmt: skip
    forged.log(said)
    for number in (0, 1):
        forged.log(
            MoveAlias(EVIL + str(number), number, None),
            SetTag(number, EVIL, True),
            SetNote(number, EVIL, None),
            SetValue(number, "metadata", EVIL, [EVIL + str(number)], []),
            SetValue(number, "metrics", EVIL, [float(number)], []),
        )
    return Person(forged.root.parent)


def is_harmless(text: str) -> bool:
    """Tell whether a terminal and a reader's eye take every line for what it is."""
    return all(
        unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        for line in text.split("\n")
        for character in line
    )


@pytest.mark.parametrize("line", COMMANDS)
def test_nothing_is_obeyed_on_a_screen(eve: Person, line: str) -> None:
    done = eve.run(*line.split())
    assert done.code != 70, done.err
    assert is_harmless(done.out), line
    assert is_harmless(done.err), line
    assert "[31m" not in done.out or "\\x1b[31m" in done.out


@pytest.mark.parametrize("line", COMMANDS)
def test_json_is_ascii_and_says_what_is_there(eve: Person, line: str) -> None:
    done = eve.run(*line.split(), "--json")
    for text in (done.out, done.err):
        assert text.isascii()
        assert is_harmless(text)
    if done.code == 0:
        json.loads(done.out)


def test_quiet_output_is_a_line_for_each_thing(eve: Person) -> None:
    """A name with a line break would be two names for a script."""
    for line, count in (("log net -q", 3), ("ls -q", 1), ("ls net:v0 -q", 4)):
        done = eve.run(*line.split())
        assert (done.code, len(done.out.splitlines())) == (0, count), (line, done.out)


def outside_of_code(markdown: str) -> str:
    """Return Markdown without its code, which has no markup in it, and without the tags that are ours."""
    kept = []
    inside = False
    for line in markdown.splitlines():
        if line.startswith("````"):
            inside = not inside
        elif not inside:
            kept.append(re.sub(r"^</?details>|<summary>|</summary>|<br>", "", re.sub(r"`[^`]*`", "", line)))
    assert not inside
    return "\n".join(kept)


def test_markdown_is_text_and_nothing_but_our_own_markup(eve: Person) -> None:
    for pair in (("net:v0", "net:v1"), ("net:v1", "net:v2")):
        done = eve.run("diff", *pair, "--markdown")
        assert done.code == 0, done
        assert is_harmless(done.out)
        rest = outside_of_code(done.out)
        assert re.search(r"(?<!\\)[<>&]", rest) is None, rest
        assert re.search(r"(?<!\\)!?(?<!\\)\[[^\]]*\]\(", rest) is None, rest
        assert "\n# " not in rest


def test_names_of_tensors_are_text_too(person: Person) -> None:
    for number in (1, 2):
        header = {EVIL: entry("F32", [2], 0, 8), f"{EVIL}.module": entry("F32", [2], 8, 16)}
        (person.here / "w.safetensors").write_bytes(safetensors_file(header, bytes([number]) * 16))
        assert person.run("add", "w.safetensors", "--name", "evil", "--type", "t").code == 0
    for line in ("diff evil:v0 evil:v1", "diff evil:v0 evil:v1 --markdown", "diff evil:v0 evil:v1 --stat", "show evil",
                 "diff evil:v0 evil:v1 --json", "diff evil:v0 evil:v1 --rank", "compare evil:v0 evil:v1",
                 "pull evil --tensor nothing*", "diff evil:v0 evil:v1 --expect-frozen *"):  # fmt: skip
        done = person.run(*line.split())
        assert done.code != 70, done
        assert is_harmless(done.out + done.err), line
        if "markdown" in line:
            assert re.search(r"(?<!\\)[<&]", outside_of_code(done.out)) is None


def test_errors_and_hints_are_escaped(eve: Person) -> None:
    """What a person typed, or a shell put together from somebody's names, comes back in an error."""
    for arguments in (["show", EVIL], ["log", EVIL], ["pull", f"net:{EVIL}"], ["cat", f"net:v0:{EVIL}"], [EVIL],
                      ["alias", EVIL, "net:v0"], ["remote", "add", EVIL, EVIL], ["diff", EVIL, EVIL],
                      ["diff", "net:v0", "net:v1", "--fail-if", EVIL], ["add", EVIL],
                      ["--json", "show", EVIL]):  # fmt: skip
        done = eve.run(*arguments)
        assert done.code not in (0, 70), arguments
        assert is_harmless(done.err + done.out), arguments


def test_names_of_files_in_a_folder_are_escaped_in_status(eve: Person, tmp_path: Path) -> None:
    assert eve.run("pull", "net:v0", "-o", str(tmp_path / "out")).code == 0
    (tmp_path / "out/\x1b[2J\u202e").write_text("x")
    done = eve.run("status", str(tmp_path / "out"))
    assert is_harmless(done.out + done.err)
