"""Which code runs: the commit, and as a patch what was changed since, whether it is staged or not.

Only `git` itself is asked, and nothing that its configuration could make it run besides what reading a working tree
needs: no pager, no external or text-converting diff, no monitor, no hooks. It takes no lock and asks no server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from mlver.lineage.capture.processes import Answer, ask
from mlver.lineage.capture.secrets import without_credentials

MAX_PATCH_BYTES = 16 << 20
MAX_UNTRACKED = 100
"""Names that are recorded; there may be more files."""
_QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
_STATUS = ("status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignore-submodules=dirty")
_PLAIN = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--unified=3")
_DIFF = ("diff", "--binary", "--full-index", *_PLAIN, "--src-prefix=a/", "--dst-prefix=b/", "--ignore-submodules=dirty")
_OWN_FOLDER = ".mlver/"


@dataclass(frozen=True, slots=True)
class CapturedCode:
    """The state of the code.

    Attributes:
        document: `commit`, `branch`, `remote` and `root` (texts or null), `dirty` (a boolean), `untracked` (at most 100
            paths), `untracked_count`, and `patch`, null, for the id of the patch's blob. Empty if there is no code.
        patch: What `git apply` makes the present state of the commit; None if nothing was changed, or it is too large.
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
            "status": lambda: _git(folder, environment, *_STATUS),
            "root": lambda: _git(folder, environment, "rev-parse", "--show-toplevel"),
            "remote": lambda: _git(folder, environment, "config", "--get", "remote.origin.url"),
            "diff": lambda: _git(folder, environment, *_DIFF, "HEAD", max_bytes=MAX_PATCH_BYTES),
        }
    )
    if answers["root"].problem is not None:
        return CapturedCode({}, None, (_why_none(folder, answers["root"].problem),))
    if answers["status"].problem is not None:
        return CapturedCode({}, None, (f"The state of the code is not recorded: git {answers['status'].problem}.",))
    return _captured(answers)


def _captured(answers: Mapping[str, Answer]) -> CapturedCode:
    commit, branch, changed, untracked = _read_status(answers["status"].output)
    notes = []
    if commit is None:
        notes.append("The git repository has no commit: which code ran is not recorded.")
    diff = answers["diff"]
    patch = diff.output if commit is not None and diff.problem is None and diff.output else None
    if commit is not None and diff.problem is not None:
        notes.append(f"What was changed since the commit is not recorded: git diff {diff.problem}.")
    if untracked:
        notes.append(_about_untracked(untracked))
    document = {
        "commit": commit,
        "branch": branch,
        "remote": without_credentials(_text(answers["remote"].output)) or None,
        "root": _text(answers["root"].output) or None,
        "dirty": changed,
        "patch": None,
        "untracked": untracked[:MAX_UNTRACKED],
        "untracked_count": len(untracked),
    }
    return CapturedCode(document, patch, tuple(notes))


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


def _read_status(output: bytes) -> tuple[str | None, str | None, bool, list[str]]:
    """Read `git status --porcelain=v2 -z`: commit, branch, whether tracked files were changed, and untracked paths."""
    commit = branch = None
    changed = False
    untracked: list[str] = []
    entries = iter(_text(output).split("\0"))
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        if kind == "#":
            name, _, value = rest.partition(" ")
            commit = value if name == "branch.oid" and value != "(initial)" else commit
            branch = value if name == "branch.head" and value != "(detached)" else branch
        elif kind == "?":
            if not _is_own(rest):
                untracked.append(rest)
        elif kind in ("1", "2", "u"):
            changed = True
            if kind == "2":
                next(entries, None)  # where it was before
    return commit, branch, changed, untracked


def _is_own(path: str) -> bool:
    return f"/{path}".endswith(f"/{_OWN_FOLDER}") or f"/{_OWN_FOLDER}" in f"/{path}"


def _about_untracked(untracked: list[str]) -> str:
    shown = ", ".join(untracked[:3]) + (", …" if len(untracked) > 3 else "")
    return f"Not in git, and so not recorded as code: {shown} ({len(untracked)} in all)."


def _why_none(folder: Path, problem: str) -> str:
    if problem.startswith("cannot be run"):
        return "Which code ran is not recorded: git is not installed."
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        return f"Which code ran is not recorded: git {problem}."
    return "Which code ran is not recorded: the folder is in no git repository."


def _text(output: bytes) -> str:
    return os.fsdecode(output).encode("utf-8", "backslashreplace").decode().strip("\n")
