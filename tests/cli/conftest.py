"""A repository with a little history, made once and copied for each test, and a person who types commands in it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlver.cli import main
from mlver.config import default_identity
from mlver.ops.add import AddRequest, add
from mlver.ops.init import init_repository
from mlver.ops.opening import open_repository
from tests.support.process import Finished, run_mlver
from tests.support.weight_files import entry, safetensors_file

HISTORY = (
    {"message": "first", "aliases": ["best"], "tags": ["base"], "metadata": {"lr": 0.1}, "metrics": {"acc": 0.5}},
    {"message": "second", "metrics": {"acc": 0.75}},
    {"message": "third", "metrics": {"acc": 0.875}},
)
_CHANGING = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+Z"), "TIME"),
    (re.compile(r"(just now|\d+ (second|minute)s? ago)"), "AGO"),
)


@dataclass(frozen=True)
class Person:
    """Types commands in a folder.

    Attributes:
        here: The folder, which has a repository.
    """

    here: Path

    def run(self, *arguments: str, **options: Any) -> Finished:
        """Run a command: in this process, or in one of its own if there are `options` for it (ten times slower)."""
        if options:
            return run_mlver(*arguments, folder=self.here, **options)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with contextlib.chdir(self.here), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main.run(arguments)
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
        return Finished(code, *texts)

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds and return its document."""
        done = self.run(*arguments, "--json")
        assert (done.code, done.err) == (0, ""), done
        return json.loads(done.out)

    def screen(self, *arguments: str) -> str:
        """Run a command that succeeds; return what it writes to stdout, with what changes from run to run masked."""
        done = self.run(*arguments)
        assert done.code == 0, done
        return masked(done.out, self.here)

    def fails(self, *arguments: str, **options: Any) -> tuple[int, list[str]]:
        """Run a command that is refused; return its exit code and the lines of stderr.

        Nothing may be on stdout, no trace of Python on the screen, and the history may not have changed.
        """
        before = self.history()
        done = self.run(*arguments, **options)
        assert done.code != 0, done
        assert done.out == ""
        assert "Traceback" not in done.err
        assert self.history() == before
        return done.code, masked(done.err, self.here).splitlines()

    def history(self) -> dict[str, bytes]:
        """Return every event there is, and the current artifact."""
        root = self.here / ".mlver"
        files = [*root.glob("log/*/*.json"), *root.glob("names/*.json"), root / "HEAD"]
        return {str(file): file.read_bytes() for file in files if file.is_file()}


def masked(text: str, here: Path) -> str:
    """Return `text` without what differs from run to run."""
    text = text.replace(str(here), "HERE").replace(default_identity(), "WHO")
    for pattern, word in _CHANGING:
        text = pattern.sub(word, text)
    return text


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose repository has `net` (v0 to v2, current) and `set:v0`; `model/` is what `net:v2` came from."""
    here = tmp_path_factory.mktemp("template")
    init_repository(here)
    opened = open_repository(here / ".mlver")
    data = here / "data.csv"
    data.write_text("a,b\n1,2\n")
    add(opened, AddRequest([data], name="set", type="dataset"))
    model = here / "model"
    (model / "conf").mkdir(parents=True)
    (model / "conf/config.json").write_text("{}\n")
    for number, said in enumerate(HISTORY):
        header = {"w": entry("F32", [2, 3], 0, 24), "b": entry("F32", [3], 24, 36)}
        (model / "net.safetensors").write_bytes(safetensors_file(header, bytes([number]) * 24 + bytes(12)))
        add(opened, AddRequest([model], name="net", type="model", **said))  # type: ignore[arg-type]
    opened.close()
    return here


@pytest.fixture
def person(template: Path, tmp_path: Path) -> Person:
    """A person in a copy of the template."""
    here = tmp_path / "here"
    shutil.copytree(template, here)
    return Person(here)
