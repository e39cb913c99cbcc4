"""The names of all commands with one line of help each, so that `mlver --help` need not import their modules.

A test proves that each line is the first line of the docstring of `command` in `mlver/cli/commands/NAME.py`.
"""

from __future__ import annotations

from typing import NamedTuple


class Entry(NamedTuple):
    """One command in the listing."""

    name: str
    summary: str


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Make and keep versions": (
        Entry("init", "Make a folder a repository."),
        Entry("add", "Record files as the next version of an artifact."),
        Entry("status", "Show what differs between a folder and the version it came from."),
        Entry("rm", "Remove versions; their numbers are never used again."),
        Entry("restore", "Take removed versions back."),
    ),
    "Run": (
        Entry("run", "Run a command, and record what it was, what it used and made, and how it went."),
        Entry("runs", "List runs, and find some by their settings and metrics."),
        Entry("lineage", "Draw where a version or a run came from, and what followed from it."),
        Entry("best", "Print the best version by a metric."),
    ),
    "Look": (
        Entry("log", "List the versions of an artifact, newest first."),
        Entry("show", "Show everything known about one version, or one run."),
        Entry("diff", "Show what changed between two versions, or a version and a folder."),
        Entry("compare", "Show metrics, configuration and sizes of versions side by side."),
        Entry("ls", "List artifacts, or the files of a version."),
        Entry("cat", "Write one file of a version to standard output."),
    ),
    "Get": (Entry("pull", "Write the files of a version into a folder."),),
    "Share": (
        Entry("remote", "Add, list, remove or show remotes: where versions are shared."),
        Entry("push", "Send what a remote does not have yet."),
        Entry("fetch", "Learn what is new at a remote: versions, aliases, tags, notes; no weights."),
        Entry("clone", "Make a new repository that knows what a remote has."),
    ),
    "Name and describe": (
        Entry("alias", "List, set or delete movable names of versions."),
        Entry("sign", "Put your name to a version, so that others can check that it is yours."),
        Entry("tag", "List, add or delete labels of a version."),
        Entry("note", "Show, set or delete the note of a version."),
        Entry("meta", "Show, set or delete metadata and metrics of a version."),
        Entry("switch", "Choose the current artifact."),
        Entry("rename", "Give an artifact another name; the old one still resolves."),
    ),
    "Take back": (
        Entry("reflog", "List every move of a name, label or note, newest first."),
        Entry("undo", "Take the last move back, or a given one."),
    ),
    "Automate": (
        Entry("watch", "Run a command for each event of a kind, once each, across restarts."),
        Entry("reproduce", "Show what it takes to make a version again, and what of it is missing."),
        Entry("export", "Write what is known of versions and runs for other tools."),
        Entry("query", "Ask in SQL: versions, metrics, aliases, tags, runs."),
        Entry("bisect", "Find the version where something broke, by halving."),
    ),
    "Care for the store": (
        Entry("verify", "Read everything again and check it against its digests."),
        Entry("retain", "Show or set which versions are kept."),
        Entry("gc", "Delete what no version uses, and make a repository smaller."),
        Entry("du", "Show how many bytes artifacts and versions take."),
    ),
}

COMMANDS: dict[str, Entry] = {entry.name: entry for entries in SECTIONS.values() for entry in entries}
