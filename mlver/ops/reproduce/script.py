"""A recipe as a shell script: for a person to read first, since it has a command in it that somebody recorded."""

from __future__ import annotations

import shlex
from pathlib import PurePosixPath

from mlver.history.records import LinkedVersion
from mlver.ops.reproduce.recipe import Recipe

SCRIPT_NAME = "mlver-reproduce.sh"
REQUIREMENTS_NAME = "mlver-requirements.txt"
INPUTS_NAME = "mlver-inputs"


def input_folder(recipe: Recipe, found: LinkedVersion) -> str:
    """Return where an input is put, in the folder of the code: where it was, if that is known and was in there."""
    place = _relative(recipe, recipe.places.get(found.id))
    return place if place is not None else f"{INPUTS_NAME}/{found.artifact}-v{found.number}"


def place_elsewhere(recipe: Recipe, found: LinkedVersion) -> str | None:
    """Return where an input was, if that is not where it is put."""
    place = recipe.places.get(found.id)
    return None if place is None or _relative(recipe, place) == input_folder(recipe, found) else place


def working_folder(recipe: Recipe) -> str:
    """Return where the command ran, relative to the top of the code; `.` if that is not known."""
    return _relative(recipe, recipe.folder) or "."


def _relative(recipe: Recipe, place: str | None) -> str | None:
    """Return a place relative to the top of the code; None if it is not known, or not in there."""
    top = recipe.code_root or recipe.folder
    if place is None or top is None:
        return None
    try:
        relative = PurePosixPath(place).relative_to(PurePosixPath(top))
    except ValueError:
        return None
    return str(relative) if ".." not in relative.parts else None


def requirements(recipe: Recipe) -> str:
    """Return the packages as a `requirements.txt`."""
    return "".join(f"{name}=={version}\n" for name, version in recipe.packages.items())


def script(recipe: Recipe, repository: str | None = None) -> str:
    """Return the script.

    Args:
        recipe: How it was made.
        repository: The `.mlver` folder, where the code, the patch and the inputs are in place beside the script.
    """
    lines = ["#!/bin/sh", f"# {_comment(recipe.title)} again. Read it before you run it.", "set -e"]
    if repository is None:
        lines += _preparation(recipe)
    else:
        lines += ['cd "$(dirname "$0")"', f"export MLVER_DIR={shlex.quote(repository)}"]
        lines += [f"# pip install -r {REQUIREMENTS_NAME}"] if recipe.packages else []
    for found in recipe.inputs:
        if found.id not in recipe.places:
            lines.append(f"# Where the command had {_comment(found.name)} was not recorded: see its arguments.")
    for name, value in recipe.environment.items():
        lines.append(f"# export {name}={_comment(shlex.quote(value))}")
    lines.append(f"cd {shlex.quote(working_folder(recipe))}")
    lines.append(shlex.join(recipe.command) if recipe.command else "# The command was not recorded.")
    return "\n".join(lines) + "\n"


def _preparation(recipe: Recipe) -> list[str]:
    lines = []
    if recipe.commit is not None:
        if recipe.remote:
            lines.append(f"# the code is of {_comment(recipe.remote)}")
        lines += [f"git worktree add --detach reproduced {recipe.commit}", "cd reproduced"]
    if recipe.patch is not None:
        shown = recipe.version.name if recipe.version else recipe.run.id if recipe.run else ""
        lines.append(f"mlver reproduce {shlex.quote(shown)} --patch | git apply --binary -")
    for found in recipe.inputs:
        lines.append(f"mlver pull {shlex.quote(found.name)} -o {shlex.quote(input_folder(recipe, found))}")
    return lines


def _comment(text: str) -> str:
    """Return text that stays in its line: whatever is after a line's end would be run."""
    return "".join(char if char.isprintable() else "?" for char in text)
