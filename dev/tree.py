"""The command tree as plain values, for the generators of completions and manual pages; any tree will do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

COMPLETERS = {
    "REF": "revisions",
    "REF|RUN": "origins",
    "NAME": "artifacts",
    "ALIAS": "aliases",
    "TAG": "tags",
    "REMOTE": "remotes",
    "CONDITION": "conditions",
    "DIR": "folders",
}
"""Metavar → what a shell offers for it; the others are in `_completer`."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option.

    Attributes:
        names: As typed, such as `-q` and `--quiet`.
        metavar: Of its value; None for a flag.
        help: One or more sentences.
        choices: The values it may have, when they are few.
        completer: What to offer for its value: a kind of `mlver __complete`, `files`, `folders` or `nothing`.
        repeatable: It may be given several times.
    """

    names: tuple[str, ...]
    metavar: str | None
    help: str
    choices: tuple[str, ...]
    completer: str
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument: like an option, without names."""

    metavar: str
    help: str
    required: bool
    many: bool
    choices: tuple[str, ...]
    completer: str


@dataclass(frozen=True, slots=True)
class Node:
    """A command.

    Attributes:
        path: Its name, and those of the groups around it, such as `("mlver", "log")`.
        summary: One sentence.
        description: Paragraphs, the summary not among them.
        examples: Pairs of a command line and its meaning.
    """

    path: tuple[str, ...]
    summary: str
    description: tuple[str, ...]
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    examples: tuple[tuple[str, str], ...]
    children: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path[-1]


def read_tree(command: click.Command, path: Sequence[str]) -> Node:
    """Return a command and all below it; hidden ones are left out."""
    with click.Context(command, info_name=path[-1], resilient_parsing=True, **command.context_settings) as context:
        summary, *description = _paragraphs(command.help or "")
        return Node(
            path=tuple(path),
            summary=summary,
            description=tuple(description),
            options=tuple(_options(command, context)),
            arguments=tuple(_arguments(command)),
            examples=tuple((line, meaning) for line, meaning in getattr(command, "examples", ())),
            children=tuple(_children(command, context, path)),
        )


def _paragraphs(text: str) -> list[str]:
    text = text.partition("\f")[0]
    return [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]


def _children(command: click.Command, context: click.Context, path: Sequence[str]) -> Iterator[Node]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield read_tree(child, [*path, name])


def _options(command: click.Command, context: click.Context) -> Iterator[Option]:
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and not parameter.hidden:
            takes_value = not parameter.is_flag and not parameter.count
            metavar = parameter.make_metavar(context) if takes_value else None
            yield Option(
                names=(*sorted(parameter.opts, key=_is_long), *parameter.secondary_opts),
                metavar=metavar,
                help=parameter.help or "",
                choices=_choices(parameter),
                completer=_completer(metavar or "", parameter.type),
                repeatable=parameter.multiple or parameter.count,
            )


def _is_long(name: str) -> bool:
    return name.startswith("--")  # click's own help option comes in no fixed order


def _arguments(command: click.Command) -> Iterator[Argument]:
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            metavar = parameter.metavar or (parameter.name or "").upper()
            yield Argument(
                metavar=metavar,
                help=getattr(parameter, "help", None) or "",
                required=parameter.required,
                many=parameter.nargs != 1,
                choices=_choices(parameter),
                completer=_completer(metavar, parameter.type),
            )


def _choices(parameter: click.Parameter) -> tuple[str, ...]:
    return tuple(map(str, parameter.type.choices)) if isinstance(parameter.type, click.Choice) else ()


def _completer(metavar: str, kind: object) -> str:
    word = metavar.strip("[].").partition("[")[0].partition(":")[0]
    if word in COMPLETERS:
        return COMPLETERS[word]
    return "files" if "PATH" in word or "FILE" in word or isinstance(kind, click.Path) else "nothing"
