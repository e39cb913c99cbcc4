"""`reproduce`: the recipe, what is missing of it, and with a worktree everything in its place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlver.errors import ConflictError, NotFoundError
from mlver.ops.opening import OpenRepository
from mlver.ops.progress import Progress
from mlver.ops.pull_whole import pull_whole
from mlver.ops.reproduce.git import Git
from mlver.ops.reproduce.missing import missing
from mlver.ops.reproduce.recipe import Recipe, find_recipe
from mlver.ops.reproduce.script import REQUIREMENTS_NAME, SCRIPT_NAME, input_folder, requirements, script
from mlver.ops.runs.blobs import read_blob
from mlver.store.failures import storage_error


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What it takes to make a version again.

    Attributes:
        recipe: How it was made.
        missing: What is not recorded or not here, each as a sentence.
        script: What to do, for a shell.
        worktree: Where everything was put in place, if it was.
    """

    recipe: Recipe
    missing: tuple[str, ...]
    script: str
    worktree: Path | None = None


def reproduce(
    repository: OpenRepository,
    text: str,
    folder: Path,
    environment: Mapping[str, str],
    worktree: Path | None = None,
    progress: Progress | None = None,
) -> Reproduction:
    """Say what it takes to make a version again, or what a run did; nothing of it is run.

    Args:
        repository: The repository.
        text: A revision, or a run.
        folder: In the git repository of the code.
        environment: For git and Python.
        worktree: A new folder: the commit is checked out there, the patch applied, the inputs pulled.
        progress: Told of the bytes pulled.

    Raises:
        NotFoundError: There is no such version or run, or (`worktree`) its code or an input is not here.
        ConflictError: The folder is there already, or the code has something else where an input belongs.
        IntegrityError: What was recorded is damaged.
        RemoteError: A remote failed.
        MlverError: git refuses, or a file cannot be written.
    """
    recipe = find_recipe(repository, text)
    lacking = missing(repository, recipe, folder, environment)
    if worktree is None:
        return Reproduction(recipe, lacking, script(recipe))
    place = Path(os.path.abspath(worktree))
    _prepare(repository, recipe, Git(folder, environment), place, progress)
    return Reproduction(recipe, lacking, script(recipe, str(repository.root)), place)


def patch_of(repository: OpenRepository, text: str) -> bytes:
    """Return what was changed in the code since its commit; nothing if nothing was.

    Raises:
        NotFoundError: There is no such version or run.
        IntegrityError: The patch is missing or damaged.
    """
    recipe = find_recipe(repository, text)
    return b"" if recipe.patch is None else read_blob(repository, recipe.patch)


def _prepare(repository: OpenRepository, recipe: Recipe, git: Git, worktree: Path, progress: Progress | None) -> None:
    if worktree.exists() or worktree.is_symlink():
        raise ConflictError(f"{worktree} is there already.", "Name a folder that is to be made.")
    if recipe.commit is None:
        raise NotFoundError(
            f"Which code made {recipe.title} is not recorded.", "Without --worktree, the rest is shown."
        )
    if not git.has_commit(recipe.commit):
        raise NotFoundError(
            f"Commit {recipe.commit} is not in the git repository of {git.folder}.",
            f"Clone {recipe.remote}" if recipe.remote else "Run this in the repository of the code.",
        )
    unknown = [found.name for found in recipe.inputs if not found.is_known]
    if unknown:
        raise NotFoundError(f"The input {unknown[0]} is not in this repository.", "It may be at a remote: mlver fetch")
    patch = None if recipe.patch is None else read_blob(repository, recipe.patch)  # before anything is made
    git.add_worktree(worktree, recipe.commit)
    try:
        _fill(repository, recipe, Git(worktree, git.environment), patch, progress)
    except BaseException:
        git.remove_worktree(worktree)
        raise


def _fill(repository: OpenRepository, recipe: Recipe, git: Git, patch: bytes | None, progress: Progress | None) -> None:
    """Put everything into a worktree that has the commit."""
    if patch is not None:
        git.apply(patch)
    for found in recipe.inputs:
        place = _inside(git.folder, input_folder(recipe, found))
        pull_whole(repository, found.name, place, progress)
    try:
        _write(git.folder / SCRIPT_NAME, script(recipe, str(repository.root)))
        _write(git.folder / REQUIREMENTS_NAME, requirements(recipe))
    except OSError as error:
        raise storage_error(error, "write", str(git.folder)) from error


def _inside(worktree: Path, folder: str) -> Path:
    """Return a folder of the worktree.

    Raises:
        ConflictError: A link is on the way, which the commit or the patch brought, and which may lead anywhere.
    """
    place = worktree / folder
    for each in (place, *place.parents):
        if each == worktree:
            break
        if each.is_symlink():
            raise ConflictError(f"{each} is a link, and an input belongs there.", "Prepare it by hand: --script")
    return place


def _write(path: Path, text: str) -> None:
    """Write a file that is not there: the commit may have one of this name, or a link."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)
