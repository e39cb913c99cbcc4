"""`reproduce`: the recipe, what is missing of it, and with a worktree everything in its place."""

from __future__ import annotations

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
        ConflictError: The folder is there already.
        IntegrityError: What was recorded is damaged.
        RemoteError: A remote failed.
        MlverError: git refuses, or a file cannot be written.
    """
    recipe = find_recipe(repository, text)
    lacking = missing(repository, recipe, folder, environment)
    if worktree is None:
        return Reproduction(recipe, lacking, script(recipe))
    _prepare(repository, recipe, Git(folder, environment), worktree.absolute(), progress)
    return Reproduction(recipe, lacking, script(recipe, str(repository.root)), worktree.absolute())


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
    if patch is not None:
        Git(worktree, git.environment).apply(patch)
    for found in recipe.inputs:
        pull_whole(repository, found.name, worktree / input_folder(found), progress)
    try:
        (worktree / SCRIPT_NAME).write_text(script(recipe, str(repository.root)), "utf-8")
        (worktree / REQUIREMENTS_NAME).write_text(requirements(recipe), "utf-8")
    except OSError as error:
        raise storage_error(error, "write", str(worktree)) from error
