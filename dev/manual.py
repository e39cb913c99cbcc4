"""Manual pages in roff from the command tree: `mlver.1` and `mlver-COMMAND.1`.

Source: groff_man(7); the conventions of man-pages(7).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dev.tree import Argument, Node, Option

EXIT_CODES = (
    ("0", "Done."),
    ("1", "Refused, or what was named does not exist."),
    ("2", "Wrong usage."),
    ("10", "Not a repository."),
    ("12", "Stored bytes are damaged."),
    ("13", "A remote failed."),
    ("14", "Another writer was first; nothing was lost."),
    ("70", "A bug in mlver."),
    ("130", "Interrupted."),
    ("141", "Nobody reads the output any more."),
)
ENVIRONMENT = (
    ("MLVER_DIR", "The .mlver folder to work on, instead of the nearest one upwards."),
    ("MLVER_PAGER, PAGER", "Shows long output on a terminal; empty or cat for none. less is the default."),
    ("NO_COLOR", "If set, neither colours nor progress bars."),
)


def manual_pages(root: Node, version: str) -> dict[str, str]:
    """Return file name → text of all pages."""
    return {
        f"{'-'.join(node.path)}.1": "".join(f"{line}\n" for line in _page(node, root, version)) for node in _all(root)
    }


def _all(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _all(child)


def _page(node: Node, root: Node, version: str) -> Iterator[str]:
    page = "-".join(node.path)
    yield '.\\" Written by dev/generate from the command tree.'
    yield f'.TH {_quoted(page.upper())} 1 "" {_quoted(f"{root.name} {version}")} {_quoted(f"{root.name} manual")}'
    yield ".SH NAME"
    yield f"{_text(page)} \\- {_text(node.summary.rstrip('.'))}"
    yield from _synopsis(node)
    yield from _section("DESCRIPTION", _paragraphs([node.summary, *node.description]))
    yield from _section("COMMANDS", _entries((_reference(child), _text(child.summary)) for child in node.children))
    yield from _section("ARGUMENTS", _entries((_argument(each), _text(each.help)) for each in node.arguments))
    yield from _section("OPTIONS", _entries((_option(each), _option_help(each)) for each in node.options))
    yield from _section("EXAMPLES", _examples(node))
    if node is root:
        yield from _section("EXIT STATUS", _entries((_bold(code), _text(meaning)) for code, meaning in EXIT_CODES))
        yield from _section("ENVIRONMENT", _entries((_bold(name), _text(text)) for name, text in ENVIRONMENT))
    else:
        yield from _section("SEE ALSO", [_reference(root)])


def _synopsis(node: Node) -> Iterator[str]:
    yield ".SH SYNOPSIS"
    words = [_bold(" ".join(node.path)), f"[{_italic('OPTION')}]..."]
    words += [_placed(argument) for argument in node.arguments]
    words += [f"{_italic('COMMAND')} [{_italic('ARGUMENT')}]..."] if node.children else []
    yield " ".join(words)


def _placed(argument: Argument) -> str:
    word = _argument(argument)
    return word if argument.required else f"[{word}]"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield f".SH {title}"
        yield from lines


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for position, text in enumerate(texts):
        if position:
            yield ".PP"
        yield _text(text)


def _entries(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for tag, text in pairs:
        yield from (".TP", tag, text or "\\&")


def _examples(node: Node) -> Iterator[str]:
    for line, meaning in node.examples:
        yield from (".TP", _bold(line), _text(meaning[:1].upper() + meaning[1:].rstrip(".") + "."))


def _argument(argument: Argument) -> str:
    return _italic(argument.metavar.strip("[].")) + ("..." if argument.many else "")


def _option(option: Option) -> str:
    names = ", ".join(map(_bold, option.names))
    return f"{names} {_italic(option.metavar)}" if option.metavar else names


def _option_help(option: Option) -> str:
    text = option.help
    if option.choices:
        text += f" One of {', '.join(option.choices)}."
    return _text(f"{text} May be given several times." if option.repeatable else text)


def _reference(node: Node) -> str:
    return f"{_bold('-'.join(node.path))}(1)"


def _bold(text: str) -> str:
    return f"\\fB{_escape(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escape(text)}\\fR"


def _text(text: str) -> str:
    escaped = _escape(text)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _escape(text: str) -> str:
    return (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("~", "\\(ti")
    )


def _quoted(text: str) -> str:
    escaped = _escape(text).replace('"', "\\(dq")
    return f'"{escaped}"'
