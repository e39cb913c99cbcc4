"""Which code runs: the commit, and as a patch what was changed since, whether it is staged or not.

Only `git` itself is asked, and nothing that its configuration could make it run besides what reading a working tree
needs: no pager, no external or text-converting diff, no monitor, no hooks. It takes no lock and asks no server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from mlver.lineage.capture.processes import Answer, ask
from mlver.lineage.capture.secrets import without_credentials

MAX_PATCH_BYTES = 16 << 20
MAX_CHANGED_BYTES = 8 << 20
"""Of a file before or after: a larger one is no code, and would take git seconds. It is left out of the patch."""
MAX_UNTRACKED = 100
"""Names that are recorded; there may be more files."""
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--ignore-submodules=dirty")
_PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--unified=3")
_DIFF = ("diff", "--binary", "--full-index", *_PLAIN, "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=dirty")
_MAX_PATHS = 500
"""Of more changed files, those whose size before matters are not looked for: a command line is not endless."""
_OWN_FOLDER = ".mlver/"


@dataclass(frozen=True, slots=True)
class CapturedCode:
    """The state of the code.

    Attributes:
        document: `commit`, `branch`, `remote` and `root` (texts or null), `dirty` (a boolean), `untracked` (at most 100
            paths), `untracked_count`, and `patch`, null, for the id of its blob; `left_out` (at most 100 paths) if
            files are too large for the patch. Empty if there is no code.
        patch: What `git apply` makes the present state of the commit, but for those files; None if nothing was changed,
            or it is too large.
        notes: What could not be recorded, as sentences.
    """

    document: dict[str, Any]
    patch: bytes | None
    notes: tuple[str, ...] = ()


def capture_code(folder: Path, environment: Mapping[str, str]) -> CapturedCode:
    """Return the state of the code in the git repository that a folder is in.

    Where there is no git, no repository or no commit, that is said in `notes`, and not an error.

    Args:
        folder: Where a command runs.
        environment: For git.
    """
    answers = _ask_all(
        {
            "status": lambda: _git(folder, environment, *_STATUS, "--untracked-files=normal"),
            "root": lambda: _git(folder, environment, "rev-parse", "--show-toplevel"),
            "remote": lambda: _git(folder, environment, "config", "--get", "remote.origin.url"),
        }
    )
    if answers["root"].problem is not None:
        return CapturedCode({}, None, (_why_none(folder, answers["root"].problem),))
    notes = []
    status = answers["status"]
    if status.problem is not None:  # most likely there are too many files that git does not know
        notes.append(f"Which files git does not know is not recorded: git {status.problem}.")
        status = _git(folder, environment, *_STATUS, "--untracked-files=no")
    if status.problem is not None:
        return CapturedCode({}, None, (f"The state of the code is not recorded: git {status.problem}.",))
    root = os.fsdecode(answers["root"].output).rstrip("\n")
    state = _read_status(status.output)
    patch = _Patch() if not state.changed or state.commit is None else _patch(Path(root), environment, state.changed)
    document = {
        "commit": state.commit,
        "branch": state.branch,
        "remote": without_credentials(_text(answers["remote"].output)) or None,
        "root": _writable(root) or None,
        "dirty": bool(state.changed),
        "patch": None,
        "untracked": list(map(_writable, state.untracked[:MAX_UNTRACKED])),
        "untracked_count": len(state.untracked),
    }
    if patch.left_out:
        document["left_out"] = list(map(_writable, patch.left_out[:MAX_UNTRACKED]))
    return CapturedCode(document, patch.content, (*notes, *_notes(state, patch)))


def _notes(state: _State, patch: _Patch) -> Iterator[str]:
    if state.commit is None:
        yield "The git repository has no commit: which code ran is not recorded."
    if patch.problem is not None:
        yield f"What was changed since the commit is not recorded: git diff {patch.problem}."
    if patch.left_out:
        yield f"Too large for the patch of what was changed since the commit: {_listed(patch.left_out)}."
    if state.untracked:
        yield f"Not in git, and so not recorded as code: {_listed(state.untracked)}."


@dataclass(frozen=True, slots=True)
class _Patch:
    """What was changed since the commit; `left_out` are paths of files that are not in it."""

    content: bytes | None = None
    left_out: list[str] = field(default_factory=list)
    problem: str | None = None


def _patch(root: Path, environment: Mapping[str, str], changed: list[str]) -> _Patch:
    large = {path for path in changed if _size(root / path) > MAX_CHANGED_BYTES}
    if len(changed) <= _MAX_PATHS:
        listing = _git(root, environment, "ls-tree", "-l", "-z", "--full-tree", "HEAD", "--", *changed)
        large.update(_large_before(listing.output))
    left_out = sorted(large)
    apart = [f":(top,exclude,literal){path}" for path in left_out]
    arguments = [*_DIFF, "HEAD", "--", ":(top)", *apart]
    answer = _git(root, environment, *arguments, max_bytes=MAX_PATCH_BYTES)
    return _Patch(answer.output or None if answer.problem is None else None, left_out, answer.problem)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # it was deleted
        return 0


def _large_before(listing: bytes) -> Iterator[str]:
    """Yield the paths of large files in what `git ls-tree -l -z` says."""
    for line in os.fsdecode(listing).split("\0"):
        head, _, path = line.partition("\t")
        size = head.rpartition(" ")[2]
        if size.isdecimal() and int(size) > MAX_CHANGED_BYTES:
            yield path


def _git(folder: Path, environment: Mapping[str, str], *arguments: str, max_bytes: int = 64 << 20) -> Answer:
    quiet = {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_PAGER": "cat"}
    return ask(["git", *_QUIET, *arguments], {**environment, **quiet, "LC_ALL": "C"}, folder, max_bytes)


def _ask_all(questions: Mapping[str, Callable[[], Answer]]) -> dict[str, Answer]:
    """Ask all at once: each takes some milliseconds, and somebody waits."""
    answers: dict[str, Answer] = {}

    def answer(name: str) -> None:
        answers[name] = questions[name]()

    threads = [Thread(target=answer, args=(name,), daemon=True) for name in questions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@dataclass(slots=True)
class _State:
    """What git says: the commit, the branch, and paths of changed files and of those that it does not know."""

    commit: str | None = None
    branch: str | None = None
    changed: list[str] = field(default_factory=list)
    untracked: list[str] = field(default_factory=list)


_FIELDS_BEFORE_PATH = {"1": 7, "2": 8, "u": 9}
"""Of entries of `git status --porcelain=v2`, after the kind."""


def _read_status(output: bytes) -> _State:
    """Read `git status --porcelain=v2 -z`."""
    state = _State()
    entries = iter(os.fsdecode(output).split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            state.commit = value if name == "branch.oid" and value != "(initial)" else state.commit
            state.branch = value if name == "branch.head" and value != "(detached)" else state.branch
        elif kind == "?":
            if not _is_own(rest):
                state.untracked.append(rest)
        elif kind in _FIELDS_BEFORE_PATH:
            state.changed.append(rest.split(" ", _FIELDS_BEFORE_PATH[kind])[-1])
            if kind == "2":
                state.changed.append(next(entries, ""))  # where it was before
    return state


def _is_own(path: str) -> bool:
    return f"/{path}".endswith(f"/{_OWN_FOLDER}") or f"/{_OWN_FOLDER}" in f"/{path}"


def _listed(paths: list[str]) -> str:
    shown = ", ".join(map(_writable, paths[:3])) + (", …" if len(paths) > 3 else "")
    return f"{shown} ({len(paths):,} in all)" if len(paths) > 1 else shown


def _why_none(folder: Path, problem: str) -> str:
    if problem.startswith("cannot be run"):
        return "Which code ran is not recorded: git is not installed."
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        return f"Which code ran is not recorded: git {problem}."
    return "Which code ran is not recorded: the folder is in no git repository."


def _text(output: bytes) -> str:
    return _writable(os.fsdecode(output)).strip("\n")


def _writable(text: str) -> str:
    """Return a path as it may be stored: one need not be valid Unicode."""
    return text.encode("utf-8", "backslashreplace").decode()
