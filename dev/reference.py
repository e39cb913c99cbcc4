"""The reference of all commands in `docs/cli.md`, from the command tree: the part of that page between two marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dev.tree import Argument, Node, Option

BEGIN = "<!-- commands: written by dev/generate from the command tree -->"
END = "<!-- end of commands -->"


def with_reference(page: str, root: Node) -> str:
    """Return the text of the page with the part between the marks written anew.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("docs/cli.md has lost a mark of its reference.")
    return "\n".join([before + begin, "", *_reference(root), end + after])


def _reference(root: Node) -> Iterator[str]:
    everywhere = set.intersection(*({option.names for option in child.options} for child in root.children))
    yield "Every command, and `mlver` itself, has these options, before or after the command's name:"
    yield ""
    yield from _table(("option", "meaning"), (_option(each) for each in root.options if each.names in everywhere))
    yield f"`{root.name}` alone has these, too:"
    yield ""
    yield from _table(("option", "meaning"), (_option(each) for each in root.options if each.names not in everywhere))
    for child in root.children:
        yield from _command(child, everywhere)


def _command(node: Node, common: set[tuple[str, ...]]) -> Iterator[str]:
    yield f"### `{' '.join(node.path)}`"
    yield ""
    yield f"`{' '.join([*node.path, '[OPTION]...', *map(_placed, node.arguments)])}`"
    yield ""
    for paragraph in (node.summary, *node.description):
        yield _escape(paragraph)
        yield ""
    rows = [(f"`{_word(argument)}`", _escape(argument.help)) for argument in node.arguments]
    rows += [_option(option) for option in node.options if option.names not in common]
    if rows:
        yield from _table(("argument or option", "meaning"), rows)
    if node.examples:
        yield from _table(("example", "what it does"), ((f"`{line}`", _escape(text)) for line, text in node.examples))


def _table(titles: tuple[str, str], rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f"| {titles[0]} | {titles[1]} |"
    yield "| --- | --- |"
    for left, right in rows:
        yield f"| {left} | {right} |"
    yield ""


def _option(option: Option) -> tuple[str, str]:
    names = ", ".join(f"`{name} {option.metavar}`" if option.metavar else f"`{name}`" for name in option.names)
    choices = f" One of {', '.join(option.choices)}." if option.choices else ""
    return names, _escape(option.help) + choices + (" May be given several times." if option.repeatable else "")


def _placed(argument: Argument) -> str:
    return _word(argument) if argument.required else f"[{_word(argument)}]"


def _word(argument: Argument) -> str:
    word = argument.metavar.strip(".")
    return f"{word}..." if argument.many else word


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")
