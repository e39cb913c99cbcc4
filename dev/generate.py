"""Writes `completions/`, `man/` and the reference in `docs/cli.md` from the command tree.

`python -m dev.generate [--check]`
"""

from __future__ import annotations

import sys
from pathlib import Path

from dev.completions import completion_scripts
from dev.manual import manual_pages
from dev.reference import with_reference
from dev.tree import read_tree
from mlver import __version__
from mlver.cli.app import PROGRAM, root_command

ROOT = Path(__file__).parent.parent
COMMAND_LINE_PAGE = "docs/cli.md"
"""Written by hand, but for a part of it."""


def generated_files() -> dict[str, str]:
    """Return path in the project → text of everything that is generated."""
    tree = read_tree(root_command(), [PROGRAM])
    completions = {f"completions/{name}": text for name, text in completion_scripts(tree).items()}
    manual = {f"man/{name}": text for name, text in manual_pages(tree, __version__).items()}
    reference = {COMMAND_LINE_PAGE: with_reference((ROOT / COMMAND_LINE_PAGE).read_text(encoding="utf-8"), tree)}
    return completions | manual | reference


def stale_files(root: Path) -> list[str]:
    """Return the paths that differ from what would be generated, are missing, or should not be there."""
    wanted = generated_files()
    there = {f"{folder}/{file.name}" for folder in ("completions", "man") for file in (root / folder).glob("*")}
    there |= {COMMAND_LINE_PAGE} if (root / COMMAND_LINE_PAGE).exists() else set()
    texts = {path: (root / path).read_text(encoding="utf-8") for path in there}
    return sorted(path for path in wanted.keys() | there if texts.get(path) != wanted.get(path))


def write_files(root: Path) -> None:
    """Bring the generated files up to date."""
    wanted = generated_files()
    for path in stale_files(root):
        if path in wanted:
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_text(wanted[path], encoding="utf-8")
        else:
            (root / path).unlink()
        print(path)


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` list those that are not current and return 1 if there are any."""
    if arguments != ["--check"]:
        write_files(ROOT)
        return 0
    stale = stale_files(ROOT)
    for path in stale:
        print(f"{path} is not current; run dev/generate", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
