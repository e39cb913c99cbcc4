"""The command tree. A command's module is imported when that command is called, and not before: start-up is a feature.

Convention for `mlver/cli/commands/NAME.py`:

- `def command(call: Call, ...) -> None` with typer's annotations; its docstring is the help and has no sections;
  its first line is the command's line in `mlver.cli.command_table`.
- It calls one op and hands the result to `call.out.result(result, document=…, brief=…, human=…)`.
- `EXAMPLES: tuple[Example, ...]` for the help and the manual page.
- Ops are imported at the top of the module (only this command is imported), heavy packages by the ops that need them.
- It raises `MlverError`s and leaves them alone; `mlver.cli.main` shows them. An exit code without an error, such as
  12 of `verify` after its report, is `raise typer.Exit(12)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple, cast

import click
import typer
from typer.core import TyperCommand, TyperGroup

from mlver.cli.call import Call
from mlver.cli.command_table import COMMANDS, SECTIONS
from mlver.cli.options import common_options

PROGRAM = "mlver"
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Example(NamedTuple):
    """A command line and what it does."""

    line: str
    meaning: str


class Command(TyperCommand):
    """A command with the common options and examples."""

    context_class = Call
    examples: Sequence[Example] = ()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += common_options()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples at the end of the help."""
        if self.examples:
            with formatter.section("Examples"):
                formatter.write_dl([(example.line, example.meaning) for example in self.examples])


class LazyGroup(TyperGroup):
    """`mlver` itself: lists commands from the table, imports the one that is called."""

    context_class = Call

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params += common_options()

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None if there is none of that name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with.

        Raises:
            click.UsageError: There is none of that name; the error's hint names the nearest.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise UnknownCommandError(args[0], ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the listing of commands, by sections."""
        wide = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(entry.name.ljust(wide), entry.summary) for entry in entries])


class UnknownCommandError(click.UsageError):
    """There is no such command.

    Args:
        name: What was asked for.
        call: The group's context.
    """

    def __init__(self, name: str, call: click.Context) -> None:
        super().__init__(f"{PROGRAM} has no command {name!r}.", ctx=call)
        self.possibilities = _nearest(name)


def _nearest(name: str) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, COMMANDS, n=3)


def load_command(name: str) -> Command:
    """Import one command's module and return its command."""
    module = import_module(f"mlver.cli.commands.{name}")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name, cls=Command, context_settings=_SETTINGS)(module.command)
    command = cast(Command, typer.main.get_command(app))
    command.examples = module.EXAMPLES
    return command


def root_command() -> click.Command:
    """Return `mlver`, with no command's module imported."""
    app = typer.Typer(
        name=PROGRAM,
        cls=LazyGroup,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=_SETTINGS,
    )
    app.callback()(_root)
    return typer.main.get_command(app)


def _show_version(call: Call, wanted: bool) -> None:
    if not wanted:
        return
    from mlver import __version__

    call.out.result(
        __version__,
        document=lambda version: {"version": version},
        brief=lambda version: version,
        human=lambda out, version: out.line(f"{PROGRAM} {version}"),
    )
    raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, help="Print the version of mlver.")
    ] = False,
) -> None:
    """Versions of machine learning models, without a server.

    A version is named as v4, best, latest or best~1 of the current artifact, as NAME, NAME:v4 or NAME:best of any, or
    by its id.
    """


__all__ = ["Call", "Command", "Example", "LazyGroup", "load_command", "root_command"]
