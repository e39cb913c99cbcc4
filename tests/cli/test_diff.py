"""`mlver diff` as it is typed: what people see, what scripts and pipelines get."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from tests.cli.conftest import Person
from tests.support.process import COMMAND, environment, run_in_terminal
from tests.support.weight_files import entry, safetensors_file

SCREEN = """\
net:v0 → net:v1
4 of 7 tensors changed, mostly encoder.1.w; 1 tensor added; 1 tensor removed\
; lr 0.1 → 0.01; model.layers 2 → 3; acc 0.913 → 0.921; loss 1 → 2.

Metrics
  acc   0.913 → 0.921  ↑ +0.008 (+0.88 %)  better
  loss  1 → 2          ↑ +1 (+100 %)       worse

Metadata
~ lr   0.1 → 0.01
+ tag  new

config.json
~ model.layers  2 → 3

train.py
@@ -1,2 +1,2 @@
 import torch
-lr = 0.1
+lr = 0.01

Files  3 modified, 1 added, 1 renamed
  modified  config.json  24 B
  modified  net.safetensors  548 B → 545 B
  modified  train.py  22 B → 23 B
  added     notes.txt
  renamed   old/vocab.txt → vocab.txt

Tensors  4 of 7 changed by 63 %, 1 added, 1 removed, 1 recast
  MODULE       TENSORS  CHANGE              MAX |Δ|  COSINE  ELEMENTS
  encoder.1.w      1/1   100 %  ██████████        1  1.0000     100 %
  head.w           1/1    10 %  ███▏            0.1  0.9950      50 %
  embed            1/1     0 %                    0  1.0000       0 %
  steps            1/1     I64                    5  1.0000     100 %
  added    head.b  F32 2
  removed  old.b  F32 2
  recast   F32 → F16  embed
"""


def write(folder: Path, tensors: dict[str, tuple[str, Any]]) -> None:
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        raw = array.tobytes()
        header[name] = entry(dtype, array.shape, len(data), len(data) + len(raw))
        data += raw
    (folder / "net.safetensors").write_bytes(safetensors_file(header, data))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose repository has net:v0 and net:v1."""
    here = tmp_path_factory.mktemp("trained")
    init_repository(here)
    opened = open_repository(here / ".mlver")
    model = here / "model"
    (model / "old").mkdir(parents=True)
    ones = np.ones(2, "f4")
    (model / "config.json").write_text('{"model": {"layers": 2}}')
    (model / "train.py").write_text("import torch\nlr = 0.1\n")
    (model / "old/vocab.txt").write_text("a\nb\n")
    write(
        model,
        {
            "embed": ("F32", ones),
            "encoder.0.w": ("F32", ones),
            "encoder.1.w": ("F32", ones),
            "encoder.2.w": ("F32", ones),
            "head.w": ("F32", np.array([1, 0], "f4")),
            "old.b": ("F32", 7 * ones),
            "steps": ("I64", np.array(5)),
        },
    )
    said: dict[str, Any] = {"metrics": {"acc": 0.913, "loss": 1}, "metadata": {"lr": 0.1}}
    add(opened, AddRequest([model], name="net", type="model", **said))
    (model / "config.json").write_text('{"model": {"layers": 3}}')
    (model / "train.py").write_text("import torch\nlr = 0.01\n")
    (model / "old/vocab.txt").rename(model / "vocab.txt")
    (model / "old").rmdir()
    (model / "notes.txt").write_text("more")
    write(
        model,
        {
            "embed": ("F16", ones.astype("f2")),
            "encoder.0.w": ("F32", ones),
            "encoder.1.w": ("F32", 2 * ones),
            "encoder.2.w": ("F32", ones),
            "head.w": ("F32", np.array([1, 0.1], "f4")),
            "head.b": ("F32", np.array([3, 4], "f4")),
            "steps": ("I64", np.array(10)),
        },
    )
    said = {"metrics": {"acc": 0.921, "loss": 2}, "metadata": {"lr": 0.01, "tag": "new"}}
    add(opened, AddRequest([model], name="net", **said))
    opened.close()
    return here


@pytest.fixture
def ada(trained: Path, tmp_path: Path) -> Person:
    """A person in a copy of it."""
    shutil.copytree(trained, tmp_path / "here")
    return Person(tmp_path / "here")


def test_the_screen(ada: Person) -> None:
    assert ada.screen("diff", "v0", "v1") == SCREEN
    assert ada.screen("diff", "net") == SCREEN
    assert ada.screen("diff", "net:v0..v1") == SCREEN


def test_names_only(ada: Person) -> None:
    screen = ada.screen("diff", "net", "--names-only")
    assert "4 of 7 tensors changed" in screen
    assert "  head.w       " in screen
    assert "CHANGE" not in screen
    assert "config.json\n~" not in screen
    document = ada.json("diff", "net", "--names-only")
    assert not document["measured"]
    assert {tensor["relative_change"] for tensor in document["tensors"]["changed"]} == {None}


def test_stat(ada: Person) -> None:
    assert ada.screen("diff", "net", "--stat") == "".join(
        [
            *SCREEN.splitlines(keepends=True)[:2],
            "tensors   4 of 7 changed by 63 %, 1 added, 1 removed, 1 recast\n",
            "files     3 modified, 1 added, 1 renamed\n",
            "metrics   2 changed\n",
            "metadata  2 changed\n",
        ]
    )


def test_the_document(ada: Person) -> None:
    document = ada.json("diff", "net")
    assert (document["from"]["name"], document["to"]["version"]) == ("net:v0", "v1")
    assert (document["identical"], document["identical_weights"]) == (False, False)
    assert document["metrics"][0] == {
        "name": "acc",
        "from": 0.913,
        "to": 0.921,
        "change": pytest.approx(0.008),
        "relative_change": pytest.approx(0.008 / 0.913),
        "better": True,
    }
    assert document["metadata"] == [
        {"key": "lr", "kind": "changed", "from": 0.1, "to": 0.01},
        {"key": "tag", "kind": "added", "from": None, "to": "new"},
    ]
    assert document["files"]["renamed"] == [{"from": "old/vocab.txt", "to": "vocab.txt"}]
    assert document["contents"][2]["lines"] == ["@@ -1,2 +1,2 @@", " import torch", "-lr = 0.1", "+lr = 0.01"]
    tensors = document["tensors"]
    assert [tensor["name"] for tensor in tensors["added"]] == ["head.b"]
    assert (tensors["recast"], tensors["unchanged"]) == (["embed"], ["encoder.0.w", "encoder.2.w"])
    head = next(tensor for tensor in tensors["changed"] if tensor["name"] == "head.w")
    assert (head["dtype"], head["shape"], head["changed_fraction"]) == ("F32", [2], 0.5)
    assert (head["relative_change"], head["max_abs"]) == (pytest.approx(0.1), pytest.approx(0.1))


def test_markdown(ada: Person) -> None:
    page = ada.screen("diff", "net", "--markdown")
    assert page.startswith("### `net:v0` → `net:v1`\n\n4 of 7 tensors changed")
    assert "| `acc` | 0.913 → 0.921 | ↑ +0.008 (+0.88 %) | better |\n" in page
    assert "| `lr` | `0.1` | `0.01` |\n" in page
    assert "````diff\n@@ -1,2 +1,2 @@\n import torch\n-lr = 0.1\n+lr = 0.01\n````\n" in page
    assert "| `encoder.1.w` | 1/1 | 100 % | 1 | 1.0000 | 100 % |\n" in page
    assert "- renamed `old/vocab.txt` → `vocab.txt`\n" in page


def test_depth_all_sort_and_tensor(ada: Person) -> None:
    def names(*options: str) -> list[str]:
        table = ada.screen("diff", "net", *options).partition("  MODULE")[2].splitlines()[1:]
        return [line.split()[0] for line in table if "/" in line]

    assert names("--depth", "1") == ["encoder.1.w", "head.w", "embed", "steps"]
    assert names("--all", "--sort", "name") == ["embed", "encoder.1.w", "head.w", "steps"]
    assert names("--tensor", "head.*", "--tensor", "s*") == ["head.w", "steps"]
    assert "added" not in ada.screen("diff", "net", "--tensor", "embed").partition("Tensors")[2]


def test_brief(ada: Person) -> None:
    files = "config.json\nnet.safetensors\nnotes.txt\nold/vocab.txt\ntrain.py\nvocab.txt\n"
    assert ada.screen("diff", "net", "-q") == files
    assert ada.screen("diff", "net", "-q", "--tensor", "head.*") == "head.b\nhead.w\n"
    assert ada.screen("diff", "net", "net", "-q") == ""


def test_a_folder(ada: Person) -> None:
    assert ada.screen("diff", "model") == "net:v1 → model\nNothing differs.\n"
    (ada.here / "model/notes.txt").write_text("other")
    screen = ada.screen("diff", "./model")
    assert screen.startswith("net:v1 → model\nThe weights are identical.\n\nnotes.txt\n@@ -1 +1 @@\n-more\n+other\n")
    document = ada.json("diff", "net", "./model")
    assert document["to"] == {
        "name": "model",
        "artifact": None,
        "version": None,
        "id": None,
        "path": str(ada.here / "model"),
    }


_NOPE = "Error: There is no version, alias of 'net', or artifact 'nope'."
_MOVED = "Error: Tensor encoder.1.w changed, which --expect-frozen 'encoder.*' forbids."
_MUCH = "Error: Tensor encoder.1.w: --fail-if 'cosine > 0.99 and max_abs = 1' holds (cosine 1, max_abs 1)."


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("net net --exit-code", 0, ""),
        ("net --exit-code", 1, ""),
        ("nope --exit-code", 2, _NOPE),
        ("nope", 1, _NOPE),
        ("net --expect-frozen encoder.[02].*", 0, ""),
        ("net --expect-frozen encoder.*", 1, _MOVED),
        ("net --expect-frozen x", 2, "Error: No tensor matches 'x', so --expect-frozen protects nothing."),
        ("net --fail-if 'relative_change > 2'", 0, ""),
        ("net --fail-if 'cosine > 0.99 and max_abs = 1'", 1, _MUCH),
        ("net --fail-if 'acc < -0.01'", 0, ""),
        (
            "net --fail-if 'acc < -0.01' --fail-if 'loss > 0'",
            1,
            "Error: --fail-if 'loss > 0' holds (changes: loss +1).",
        ),
        ("net --fail-if 'acc <'", 2, "Error: Expected a value."),
        ("net --tensor encodr.*", 1, "Error: No tensor matches 'encodr.*'."),
        ("net --tensor encodr.* --fail-if 'max_abs > 0'", 2, "Error: No tensor matches 'encodr.*'."),
        ("net --names-only --rank", 2, "Error: --rank needs weights to be read; --names-only reads nothing."),
        ("net --markdown --stat", 2, "Error: --markdown and --stat are two views of a diff: choose one."),
        ("net --key id", 1, "Error: Neither side has a table whose rows could be compared."),
        ("net --sort x", 2, "Error: Tensors cannot be sorted by 'x'."),
        ("v0", 1, "Error: There is no version before net:v0."),
    ],
)
def test_exit_codes(ada: Person, arguments: str, code: int, message: str) -> None:
    done = ada.run("diff", *shlex.split(arguments))
    assert (done.code, done.err.partition("\n")[0]) == (code, message)


def test_a_pattern_that_matches_nothing_gets_the_nearest_as_a_hint(ada: Person) -> None:
    for option in ("--tensor", "--expect-frozen"):
        assert ada.fails("diff", "net", option, "encodr.*")[1][-1] == "Hint: Did you mean 'encoder.*'?"
    assert ada.fails("diff", "net", "--tensor", "haed.w")[1][-1] == "Hint: Did you mean 'head.w'?"
    assert len(ada.fails("diff", "net", "--tensor", "zzz")[1]) == 1


def test_the_summary_breaks_between_words_on_a_terminal(ada: Person) -> None:
    code, screen = run_in_terminal(
        *COMMAND, "diff", "net", folder=ada.here, variables={"PAGER": "cat", "NO_COLOR": "1"}
    )
    assert code == 0
    lines = screen.splitlines()
    assert " ".join(lines[1:3]) == SCREEN.splitlines()[1]
    assert max(map(len, lines)) <= 80


def test_a_wrong_expression_is_pointed_at(ada: Person) -> None:
    code, lines = ada.fails("diff", "net", "--fail-if", "max_abs > 1 or ac < 0")
    assert code == 2
    assert lines == [
        "Error: 'ac' means nothing here.",
        "Hint: Did you mean 'acc'?",
        "  max_abs > 1 or ac < 0",
        "                 ^",
    ]
    code, lines = ada.fails("diff", "net", "--fail-if", "'\x1b' >\t", "--json")
    assert code == 2
    assert json.loads(lines[-1])["error"]["kind"] == "usage"


def test_failures_do_not_hide_the_report(ada: Person) -> None:
    done = ada.run("diff", "net", "--json", "--expect-frozen", "encoder.*")
    assert done.code == 1
    document = json.loads(done.out)
    assert document["failures"] == [
        {
            "gate": "encoder.*",
            "subject": "encoder.1.w",
            "message": "Tensor encoder.1.w changed, which --expect-frozen 'encoder.*' forbids.",
        }
    ]


def test_what_comes_from_outside_is_made_harmless(ada: Person) -> None:
    evil = "\x1b[2J|`<script>"
    write(ada.here / "model", {f"w.{evil}": ("F32", np.ones(2, "f4"))})
    (ada.here / "model/config.json").write_text(json.dumps({evil: evil}))
    (ada.here / "model/train.py").write_text(f"{evil}\n````\n# x\n")
    assert ada.run("add", "model", "-q").code == 0
    for options in ((), ("--all",), ("--stat",), ("--markdown",)):
        screen = ada.run("diff", "net", *options).out
        assert "\x1b" not in screen
    page = ada.run("diff", "net", "--markdown").out
    assert page.count("````") == 2
    write(ada.here / "model", {f"w.{evil}": ("F32", np.array([1, np.nan], "f4"))})
    assert ada.run("add", "model", "-q").code == 0
    broken = ada.run("diff", "net", "--markdown").out
    assert "NaN or infinities appeared in w.\\\\x1b\\[2J\\|\\`\\<script\\>; " in broken
    assert "<script>" not in page.replace("`\\x1b[2J\\|'<script>`", "").split("````")[0]


def test_a_tensor_that_broke_says_so_in_every_table(ada: Person) -> None:
    write(ada.here / "model", {"a": ("F32", np.array([1, 2], "f4")), "b": ("F32", np.array([1, 2], "f4"))})
    assert ada.run("add", "model", "--name", "net", "-q").code == 0
    write(ada.here / "model", {"a": ("F32", np.array([1, np.nan], "f4")), "b": ("F32", np.array([1, np.inf], "f4"))})
    assert ada.run("add", "model", "--name", "net", "-q").code == 0
    screen, markdown = ada.screen("diff", "net"), ada.screen("diff", "net", "--markdown")
    assert [line.split()[:3] for line in screen.splitlines() if line.startswith(("  a ", "  b "))] == [
        ["a", "1/1", "NaN"],
        ["b", "1/1", "Inf"],
    ]
    assert "| `a` | 1/1 | NaN |" in markdown


def test_a_command_is_compared_by_its_options(ada: Person) -> None:
    for rate in ("0.1", "0.01"):
        (ada.here / "model/notes.txt").write_text(rate)
        assert ada.run("add", "model", "--name", "net", "-q", "--meta", f"lr={rate}", variables={}).code == 0
    assert ada.json("diff", "net")["provenance"] == [
        {"key": "command --meta", "kind": "changed", "from": "lr=0.1", "to": "lr=0.01"}
    ]


def test_renamings_without_a_pattern_do_not_fill_the_screen(ada: Person) -> None:
    for prefix in ("", "x"):
        names = [f"{number if prefix else ''}{prefix}w{number}" for number in range(30)]
        arrays = (("F32", np.full(2, number, "f4")) for number in range(30))
        write(ada.here / "model", dict(zip(names, arrays, strict=True)))
        assert ada.run("add", "model", "--name", "net", "-q").code == 0
    lines = [line for line in ada.screen("diff", "net").splitlines() if line.startswith("  renamed")]
    assert len(lines) == 9
    assert lines[-1] == "  renamed  … and 22 more tensors (--all)"
    every = ada.screen("diff", "net", "--all").splitlines()
    assert sum(line.startswith("  renamed") for line in every) == 30


def test_numpy_is_not_imported_for_names(ada: Person) -> None:
    program = "import sys; from mlver.cli.main import run; run(sys.argv[1:]); sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program, "diff", "net", "--names-only"],
        cwd=ada.here,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(done.stderr.split())
    assert "mlver.ops.diff.diff" in modules
    assert not {"numpy", "rich", "yaml"} & modules


def test_tables_on_the_screen(ada: Person) -> None:
    place = ada.here / "set"
    place.mkdir()
    (place / "test.csv").write_text("id,label,pred\n1,a,a\n2,b,a\n3,a,b\n4,b,b\n")
    (place / "data.jsonl").write_text('{"uid": "a", "n": 1}\n{"uid": "b", "n": 2}\n')
    ada.run("add", "set", "--name", "set", "--type", "dataset")
    (place / "test.csv").write_text("id,label,pred\n1,a,b\n2,b,b\n3,a,a\n4,b,b\n5,a,a\n")
    (place / "data.jsonl").write_text('{"uid": "a", "n": 1}\n{"uid": "b", "n": 5}\n{"uid": "c", "n": 3}\n')
    ada.run("add", "set", "--name", "set")
    lines = ada.run("diff", "set:v0", "set:v1").out.splitlines()
    assert lines[1] == "rows of data.jsonl: 1 changed, 1 added; accuracy of test.csv 0.5 → 0.8 (2 fixed, 1 broken)."
    assert lines[3:23] == [
        "data.jsonl  2 → 3 rows, matched by uid",
        "  rows     1 changed, 1 added; n in 1",
        "  ~ b  n 2 → 5",
        "  + c",
        "",
        "test.csv  4 → 5 rows, matched by id",
        "  accuracy 0.5 (2 of 4) → 0.8 (4 of 5)  ↑ +0.3  pred against label",
        "  fixed    2",
        "    2  a → b, right is b",
        "    3  b → a, right is a",
        "  broken   1",
        "    1  a → b, right is a",
        "  rows     3 changed, 1 added; pred in 3",
        "  ~ 1  pred a → b",
        "  ~ 2  pred a → b",
        "  ~ 3  pred b → a",
        "  + 5",
        "",
        "Files  2 modified",
        "  modified  data.jsonl  42 B → 63 B",
    ]
    shown = ada.run("diff", "set:v0", "set:v1", "--markdown").out
    assert "- accuracy 0.5 (2 of 4) → 0.8 (4 of 5), **+0.3**" in shown
    assert "| fixed | `2` | `a → b, right is b` |" in shown
    assert "| added | `5` |  |" in shown
    table = ada.json("diff", "set:v0", "set:v1")["contents"][1]["table"]
    assert (table["key"], table["predictions"]["fixed_count"], table["added"]) == (["id"], 2, [["5"]])
    assert "matched by label" in ada.run("diff", "set:v0", "set:v1", "--key", "label").out
    assert "5 rows repeat the key of an earlier one" in ada.run("diff", "set:v0", "set:v1", "--key", "label").out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--names-only", "--key", "id"], 2, "--names-only reads nothing"),
        (["--names-only", "--label", ""], 2, "--names-only reads nothing"),
    ],
)
def test_tables_cannot_be_compared_by_names(ada: Person, words: list[str], code: int, message: str) -> None:
    found, lines = ada.fails("diff", "v0", "v1", *words)
    assert found == code
    assert message in lines[0]
