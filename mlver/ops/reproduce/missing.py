"""What of a recipe is not recorded, or not here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mlver.history.manifest import manifest_name
from mlver.history.run_blob import blob_name
from mlver.lineage.capture.python import capture_python
from mlver.ops.opening import OpenRepository
from mlver.ops.reproduce.git import Git
from mlver.ops.reproduce.recipe import Recipe
from mlver.ops.reproduce.script import place_elsewhere

_SHOWN = 5


def missing(
    repository: OpenRepository, recipe: Recipe, folder: Path, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """Return what stands in the way of making it again, each as a sentence.

    Args:
        repository: The repository.
        recipe: How it was made.
        folder: Where the code is looked for.
        environment: For git and Python.
    """
    return (
        *_missing_code(repository, recipe, Git(folder, environment)),
        *_missing_inputs(repository, recipe),
        *_other_python(recipe, folder, environment),
    )


def _missing_code(repository: OpenRepository, recipe: Recipe, git: Git) -> Iterator[str]:
    if not recipe.command:
        yield "The command was not recorded."
    if recipe.commit is None:
        yield "Which code it was is not recorded: it was not in a git repository with a commit."
        return
    if git.root() is None:
        where = f"git clone {recipe.remote}" if recipe.remote else "it is not known where its repository is"
        yield f"{git.folder} is in no git repository, so the code is not here: {where}."
    elif not git.has_commit(recipe.commit):
        yield f"Commit {recipe.commit[:12]} is not in this git repository: fetch it, or look for it in another clone."
    if recipe.patch is not None and not repository.storage.exists(blob_name(recipe.patch)):
        yield "What was changed since the commit was recorded, but is not here: mlver fetch."
    if recipe.dirty and recipe.patch is None:
        yield "Something was changed since the commit, and what was not recorded."
    if recipe.left_out:
        yield f"Files that were changed since the commit were too large to be recorded: {', '.join(recipe.left_out)}."
    if recipe.untracked:
        more = f" and {len(recipe.untracked) - _SHOWN} more" if len(recipe.untracked) > _SHOWN else ""
        names = ", ".join(recipe.untracked[:_SHOWN])
        yield f"Files that git did not know were not recorded, and may have been used: {names}{more}."


def _missing_inputs(repository: OpenRepository, recipe: Recipe) -> Iterator[str]:
    for found in recipe.inputs:
        if not found.is_known:
            yield f"Its input {found.name} ({found.id}) is not in this repository: mlver fetch."
        elif not repository.storage.exists(manifest_name(found.id)) and not repository.config.remotes:
            yield f"The content of its input {found.name} is gone."
        elif place := place_elsewhere(recipe, found):
            yield f"Its input {found.name} was in {place}, which is not in the folder of the code."


def _other_python(recipe: Recipe, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    if not recipe.packages and recipe.python is None:
        return
    # The Python of whoever asks, never a program that a record of somebody else names.
    here = capture_python(["python"], environment, folder)
    version = here.document.get("version")
    if recipe.python is not None and version != recipe.python:
        yield f"It ran with Python {recipe.python}; here is {version or 'none'}."
    others = [
        f"{name} {wanted} ({here.packages.get(name, 'not here')})"
        for name, wanted in recipe.packages.items()
        if here.packages.get(name) != wanted
    ]
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        yield f"Packages had other versions than here: {', '.join(others[:_SHOWN])}{more}."
