"""docs/json.md and what the commands print agree exactly: no field more, no field less, and the types are right."""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlver.cli.command_table import COMMANDS
from tests.support.process import PROJECT, run_mlver
from tests.support.weight_files import Instance, Name, Storage, Tensor, TorchFile, entry, safetensors_file

Schema = dict[str, str]
"""Type by field."""

FREE = {
    "logs",
    "options",
    "metadata",
    "metrics",
    "provenance",
    "aliases",
    "config",
    "environment",
    "packages",
    "tracked",
    "code",
    "record",
    "courses",
}
"""Objects whose keys are the user's, where their type is `object`."""
SHARED = {"version", "artifact", "event", "bytes", "reference", "change", "run", "link", "node", "shared", "remote"}
"""Sections of objects that others have."""

TYPES: dict[str, Any] = {
    "text": str,
    "integer": int,
    "number": int | float,
    "boolean": bool,
    "null": type(None),
    "object": dict,
}


def read_sections(page: str) -> dict[str, Schema]:
    """Return the tables of fields by heading, with the objects that stand for their fields written out."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for part in page.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        table = body.partition("| field | type | meaning |\n")[2].partition("\n\n")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[1:]]
        sections[title.strip("`").lower()] = [(row[0], row[1]) for row in rows]
    return {title: dict(_fields(rows, sections)) for title, rows in sections.items()}


def _fields(rows: list[tuple[str, str]], sections: Mapping[str, list[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    for name, kind in rows:
        reference = re.fullmatch(r"(?:`(.+)` )?\*(\w+)\*", name)
        if reference is None:
            yield name.strip("`"), kind
            continue
        prefix = f"{reference[1]}." if reference[1] else ""
        yield from ((prefix + field, kind) for field, kind in _fields(sections[reference[2]], sections))


SECTIONS = read_sections((PROJECT / "docs" / "json.md").read_text("utf-8"))
VALUES = {field for schema in SECTIONS.values() for field, kind in schema.items() if kind == "value" and "." in field}
VALUES |= {"documents", "columns[].values"}
"""Fields of documents that hold any JSON value."""


def observed(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every field of a document, `a[].b` for those in arrays, with its value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            field = f"{path}.{name}" if path else name
            yield field, inner
            if field not in VALUES and (name not in FREE or isinstance(inner, list)):
                yield from observed(inner, field)
    elif isinstance(value, list):
        for item in value:
            yield from observed(item, f"{path}[]")


def is_of(value: Any, kind: str) -> bool:
    """Tell whether a value is of a documented type such as `text or null` or `array of text`."""
    if kind.startswith("array of "):
        return isinstance(value, list) and all(is_of(item, kind.removeprefix("array of ")) for item in value)
    return kind == "value" or any(
        isinstance(value, TYPES[each]) and (each == "boolean") == isinstance(value, bool) for each in kind.split(" or ")
    )


def check(section: str, document: Any) -> set[str]:
    """Compare a document with its section and return the fields that it showed."""
    schema = SECTIONS[section]
    seen: set[str] = set()
    for field, value in observed(document):
        assert field in schema, f"{section}: {field} is not documented"
        assert is_of(value, schema[field]), f"{section}: {field} is {value!r}, not {schema[field]}"
        seen.add(field)
        if field in VALUES:
            continue
        for inner in [value] if isinstance(value, dict) else value if isinstance(value, list) else []:
            if isinstance(inner, dict) and not (field.rpartition(".")[2] in FREE and isinstance(value, dict)):
                prefix = f"{field}." if isinstance(value, dict) else f"{field}[]."
                assert inner.keys() == _direct(schema, prefix), f"{section}: the fields of {field}"
    assert document.keys() == _direct(schema, ""), f"{section}: the fields of the document"
    return seen


def _direct(schema: Schema, prefix: str) -> set[str]:
    names = {field.removeprefix(prefix) for field in schema if field.startswith(prefix)}
    return {name for name in names if "." not in name and "[]" not in name}


def model(scale: float) -> bytes:
    raw = struct.pack("<1000f", *(scale * n for n in range(1000)))
    return safetensors_file({"w": entry("F32", (10, 100), 0, 4000)}, raw)


def write_model(home: Path, scale: float) -> None:
    folder = home / "model"
    (folder / "nothing").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(model(scale))
    (folder / "notes.txt").write_text(f"scale {scale}\n")
    storage = Storage("0", bytes(400))
    root = {"b": Tensor(storage, (100,), (1,)), "o": Instance(Name("my.optim", "Sophia"))}
    (folder / "old.pt").write_bytes(TorchFile(root, [storage]).to_bytes())


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Run every command for real, check each document, and return the fields that were seen, by section."""
    home = tmp_path_factory.mktemp("home")
    seen: dict[str, set[str]] = {}

    def run(section: str, *arguments: str, code: int = 0) -> Any:
        done = run_mlver(*arguments, "--json", folder=home)
        assert done.code == code, done.err
        document = json.loads(done.err.splitlines()[-1] if section == "error" else done.out)
        seen[section] = seen.get(section, set()) | check(section, document)
        return document

    _tell_story(home, run)
    return seen


def _tell_story(home: Path, run: Any) -> None:
    run("mlver --version", "--version")
    run("error", "log", code=10)
    run("mlver init", "init")
    run("mlver ls", "ls")
    write_model(home, 1.0)
    said = ("--meta", "a.b=[1]", "--metric", "acc=0.5", "--tag", "t", "-m", "first", "--alias", "best")
    run("mlver add", "add", "model", "--name", "m", "--type", "model", *said)
    (home / "model" / "notes.txt").write_text("other bytes\n")
    assert run("mlver add", "add", "model")["weights_identical_to"] == "m:v0"
    write_model(home, 2.0)
    run("mlver status", "status", "model")
    run("mlver add", "add", "model")
    run("mlver add", "add", "model/notes.txt", "--name", "other", "--type", "text")
    _look(run)
    _compare(home, run)
    _refer(home, run)
    _trace(home, run)
    _automate(home, run)
    _change(home, run)
    _collect(home, run)
    _share(home, run)
    run("mlver gc --repack", "gc", "--repack")
    _damage(home, run)


def _automate(home: Path, run: Any) -> None:
    run("mlver alias alias", "alias", "o:top", "--track", "max(x)")
    run("mlver alias alias", "alias", "o:top", "--untrack")
    run("mlver alias alias", "alias", "o:top", "--protect")
    run("mlver alias alias", "alias", "o:low", "--track", "min(x)")
    run("mlver alias", "alias", "--artifact", "o")
    judge = ("--json", "--", "sh", "-c", "exit 1")
    run("mlver bisect", "bisect", "--good", "m:v0", "--bad", "m:v2", "--log", "log", *judge)
    run("mlver bisect", "bisect", "--good", "m:v0", "--bad", "m:v2", "--no-pull", *judge[:-1], "exit 125")
    run("mlver watch", "watch", "--on", "add", "--from-start", "--once", "--json", "--", "true")
    run("mlver add", "add", "model/notes.txt", "--name", "used", "--type", "text", "--uses", "m:v0")
    run("mlver reproduce", "reproduce", "used")
    run("mlver switch", "switch", "m")
    run("mlver query", "query", "SELECT * FROM versions")
    run("mlver query --schema", "query", "--schema")
    run("mlver export", "export", "m", "--format", "croissant", "-o", "croissant.json")
    run("mlver export", "export", "m", "--format", "ro-crate")
    run("mlver export --parquet", "export", "--parquet", "tables")


def _trace(home: Path, run: Any) -> None:
    mlver = (sys.executable, "-m", "mlver")  # the --json at the end is that of the command
    (home / "rows.txt").write_text("1 2 3\n")
    run("mlver add", "add", "rows.txt", "--name", "rows", "--type", "dataset")
    judged = ("--uses", "other", "--uses")
    for number in range(2):
        (home / "made.txt").write_text(str(number))
        adding = (*mlver, "add", "made.txt", "--name", "made", "--type", "text", "--metric", f"acc=0.{number + 1}")
        called = ("--name", f"run{number}", "--job-type", "train", "--config", f"lr={number}")
        said = (*called, "--uses", "rows", "--uses", f"o:v{number}")
        run("mlver run", "run", "--json", *said, "--", *adding)
        run("mlver run", "run", "--json", "--uses", f"made:v{number}", *judged, f"m:v{number}", "--", "true")
    assert run("mlver runs", "runs", "--columns", "config.lr,status")["columns"]
    run("mlver show run", "show", "run:run1")
    run("mlver best", "best", "--metric", "acc")
    assert run("mlver lineage", "lineage", "made:v0")["edges"]
    assert run("mlver lineage ref ref", "lineage", "made:v0", "made:v1")["ancestors"]["both"]


def _collect(home: Path, run: Any) -> None:
    run("mlver gc", "gc", "--dry-run")
    run("mlver retain", "retain", "--last", "1", "--best", "2 acc")
    run("mlver retain", "retain", "m", "--daily", "2w")
    plan = run("mlver gc --plan", "gc", "--plan", "--grace", "0")
    (home / "plan.json").write_text(json.dumps(plan))
    run("mlver gc", "gc", "--apply", "plan.json")
    run("mlver retain", "retain", "--clear")
    run("mlver retain", "retain", "m", "--clear")


def _compare(home: Path, run: Any) -> None:
    folder = home / "other"
    folder.mkdir()
    for number, dtype in enumerate(("F32", "F16")):
        width = 4 >> number
        header = {
            "a": entry(dtype, (2, 3), 0, 6 * width),
            f"moved{number}": entry("F32", (2,), 6 * width, 6 * width + 8),
            f"only{number}": entry("U8", (3,), 6 * width + 8, 6 * width + 11),
            "same": entry("U8", (0,), 6 * width + 11, 6 * width + 11),
            "shaped": entry("U8", (2,) * (number + 1) + (2 - number,), 6 * width + 11, 6 * width + 15),
        }
        (folder / "m.safetensors").write_bytes(
            safetensors_file(header, bytes(6 * width) + b"12345678" + bytes([number] * 7))
        )
        (folder / "c.json").write_text(json.dumps({"a": number, "b": {"c": [number]}}))
        (folder / "t.txt").write_text(f"line {number}\n")
        (folder / "0.bin").unlink(missing_ok=True)
        (folder / f"{number}.bin").write_bytes(b"the same bytes")
        (folder / f"{number}.txt").write_text(str(number))
        rows = f"1,cat,{'cow' if number else 'cat'},7\n2,cow,{'cow' if number else 'cat'},7\n{3 + number},ant,ant,7\n"
        (folder / "rows.csv").write_text(f"id,label,pred,c{number}\n{rows}")
        (folder / "broken.csv").write_text(f"a,b\n{number}\n")
        said = ("--metric", f"x={number}", "--meta", f"k={number}")
        run("mlver add", "add", "other", "--name", "o", "--type", "t", *said)
    run("mlver diff", "diff", "o:v0", "o:v1", "--rank")
    run("mlver diff", "diff", "o:v0", "o:v1", "--names-only")
    run("mlver compare", "compare", "o:v0", "o:v1", "m:v0")
    run("mlver diff", "diff", "m:v0", "./other")
    run("mlver diff", "diff", "o:v0", "o:v1", "--expect-frozen", "a", "--fail-if", "x > 0", code=1)


def _look(run: Any) -> None:
    run("mlver log", "log", "m")
    run("mlver log", "log", "m", "-n", "1", "--removed")
    run("mlver log --all", "log", "--all")
    run("mlver log --metrics", "log", "m", "--metrics")
    run("mlver log --metrics --all", "log", "--metrics", "--all")
    run("mlver show", "show", "m")
    run("mlver show", "show", "other")
    run("mlver ls", "ls")
    run("mlver ls ref", "ls", "m:v0")
    run("mlver du", "du")
    run("mlver du", "du", "other")
    run("mlver verify", "verify")
    run("mlver pull", "pull", "m:v0", "-o", "out")
    run("mlver pull", "pull", "m:v1", "-o", "out", "--dry-run")
    run("mlver pull", "pull", "m:v1", "-o", "out", "--force")
    run("error", "pull", "m:v0", "-o", "out", code=14)
    run("error", "show", "absent", code=1)
    run("error", "show", "--absent", code=2)


def _refer(home: Path, run: Any) -> None:
    (home / "far").mkdir()
    for name in ("a", "b"):
        (home / "far" / f"{name}.csv").write_text(name)
    place = (home / "far").as_uri()
    run("mlver add", "add", "--ref", place, "--name", "data", "--type", "dataset")
    run("mlver show", "show", "data")
    run("mlver ls ref", "ls", "data")
    run("mlver du", "du", "data")
    run("mlver verify", "verify", "data")
    run("mlver pull", "pull", "data", "-o", "near", "--dry-run")
    run("mlver pull", "pull", "data", "-o", "near")
    (home / "near" / "a.csv").unlink()
    run("mlver status", "status", "near")
    (home / "far" / "a.csv").write_text("aa")
    run("mlver add", "add", "--ref", place, "--name", "data")
    run("mlver diff", "diff", "data:v0", "data:v1")
    run("mlver verify", "verify", "data:v0", code=12)
    run("mlver verify", "verify", "data:v0", "--no-references")


def _change(home: Path, run: Any) -> None:
    run("mlver switch", "switch", "m")
    run("mlver alias", "alias")
    run("mlver alias alias", "alias", "best")
    run("mlver alias alias", "alias", "new", "m:v0")
    run("mlver alias alias", "alias", "-d", "new")
    run("mlver tag", "tag", "v1", "good")
    _sign(home, run)
    run("mlver note", "note", "v1", "a note")
    run("mlver note", "note", "v1", "-d")
    run("mlver meta", "meta", "v1", "lr=0.1", "--metric", "loss=1")
    run("mlver rm", "rm", "v2", "--force")
    run("mlver restore", "restore", "v2")
    run("mlver undo", "undo")
    run("mlver rename", "rename", "m", "n")
    run("mlver reflog", "reflog", "m")
    run("mlver ls", "ls")
    run("mlver rm", "rm", "other", "--all", "--dry-run")
    run("mlver rm", "rm", "other:v0")
    run("mlver ls", "ls")


def _sign(home: Path, run: Any) -> None:
    from tests.support.keys import make_key

    make_key(home, "me")
    run("mlver sign", "sign", "v1", "--key", "me.pem")
    run("mlver verify --signature", "verify", "--signature", "v1", "--public-key", "me.pub")
    run("mlver verify --signature", "verify", "--signature", "--public-key", "me.pub", code=15)


def _share(home: Path, run: Any) -> None:
    run("mlver remote action", "remote", "add", "origin", "shared", "--region", "nowhere")
    run("mlver remote", "remote")
    run("mlver push", "push", "--dry-run")
    run("mlver push", "push")
    run("mlver remote action", "remote", "show", "origin")
    run("mlver clone", "clone", "shared", "copy")
    for place, words in ((home / "copy", "one\n"), (home, "two\n")):
        (home / "words.txt").write_text(words)
        said = ("--name", "words", "--type", "text", "--alias", "best")
        assert run_mlver("add", "-C", str(place), str(home / "words.txt"), *said, folder=home).code == 0
    run("mlver push", "push")
    run("error", "push", "-C", "copy", code=14)
    run("mlver fetch", "fetch", "-C", "copy", "--dry-run")
    assert run("mlver fetch", "fetch", "-C", "copy")["artifacts"][0]["renumbered"]
    assert run_mlver("add", "-C", "copy", str(home / "model"), "--name", "new", "--type", "t", folder=home).code == 0
    assert run_mlver("push", "-C", "copy", folder=home).code == 0
    (home / "words.txt").write_text("three\n")
    assert run_mlver("add", "words.txt", "--name", "words", folder=home).code == 0
    assert run("mlver push", "push")["artifacts"][0]["renumbered"]
    run("mlver gc", "gc", "--remote", "--dry-run")
    run("mlver gc", "gc", "--remote", "origin", "--grace", "0")
    run("mlver remote action", "remote", "remove", "origin")


def _damage(home: Path, run: Any) -> None:
    for pack in (home / ".mlver" / "packs").iterdir():
        pack.chmod(0o644)
        pack.write_bytes(bytes(byte ^ (300 < at < 310) for at, byte in enumerate(pack.read_bytes())))
    damaged = run("mlver verify", "verify", code=12)["damaged"]
    assert any(hurt["tensors"] for damage in damaged for hurt in damage["hurts"])
    assert run("mlver verify", "verify", "--repair", "--from", "model", code=12)["repaired"]["quarantined"]


def test_every_documented_field_is_printed(shown: dict[str, set[str]]) -> None:
    for section, fields in shown.items():
        assert SECTIONS[section].keys() - fields == set(), section


def test_every_section_is_tried(shown: dict[str, set[str]]) -> None:
    assert SECTIONS.keys() - SHARED == shown.keys()


def test_every_command_has_a_section() -> None:
    documented = {section.split()[1] for section in SECTIONS if section.startswith("mlver ")}
    assert documented - {"--version"} == COMMANDS.keys() - {"cat"}


def test_cat_prints_bytes_whatever_the_mode(tmp_path: Path) -> None:
    write_model(tmp_path, 1.0)
    assert run_mlver("init", folder=tmp_path).code == 0
    assert run_mlver("add", "model", "--name", "m", "--type", "t", folder=tmp_path).code == 0
    assert run_mlver("cat", "m:notes.txt", "--json", folder=tmp_path).out == "scale 1.0\n"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"path": "x", "created": True, "new": 1}, "new is not documented"),
        ({"path": "x"}, "the fields of the document"),
        ({"path": "x", "created": 1}, "created is 1, not boolean"),
        ({"path": None, "created": True}, "path is None, not text"),
    ],
)
def test_a_wrong_document_is_seen(document: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check("mlver init", document)
