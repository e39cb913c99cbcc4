r"""Completions for bash, zsh and fish from the command tree.

Commands, options and choices are written into the scripts; names of the repository (artifacts, aliases, revisions,
tags) are asked for with `mlver __complete KIND PREFIX`, which starts no command line parser and is fast.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from dev.tree import Argument, Node, Option

DYNAMIC = ("artifacts", "aliases", "conditions", "origins", "remotes", "revisions", "tags")
_HEADER = "# Written by dev/generate from the command tree."


def completion_scripts(root: Node) -> dict[str, str]:
    """Return file name → text of the scripts."""
    scripts = {"mlver.bash": _bash(root), "_mlver": _zsh(root), "mlver.fish": _fish(root)}
    return {name: "".join(f"{line}\n" for line in lines) for name, lines in scripts.items()}


def _value_options(options: Iterable[Option]) -> list[Option]:
    return [option for option in options if option.metavar]


def _names(options: Iterable[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


# bash

_BASH_FRAME = r"""
_mlver_offer() {
    local kind=$1; shift
    case $kind in
        artifacts | aliases | conditions | origins | remotes | revisions | tags)
            local IFS=$'\n'
            COMPREPLY=($(mlver __complete "$kind" "$cur" 2>/dev/null))
            ;;
        words) COMPREPLY=($(compgen -W "$*" -- "$cur")) ;;
        folders) compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur")) ;;
        files) compopt -o default 2>/dev/null ;;
    esac
}

# readline cuts words at ':', '@' and '=', and expects only what comes after the last of them.
_mlver_trim() {
    local cut=${cur%"${cur##*[:=@]}"} position
    [[ -n $cut ]] || return 0
    for position in "${!COMPREPLY[@]}"; do
        COMPREPLY[position]=${COMPREPLY[position]#"$cut"}
    done
}
"""


def _bash(root: Node) -> Iterator[str]:
    yield f"# bash completion for {root.name}"
    yield _HEADER
    yield from _BASH_FRAME.strip("\n").split("\n")
    yield ""
    yield "_mlver() {"
    yield "    local line=${COMP_LINE:0:COMP_POINT} cur command= previous= place=0 word options value"
    yield "    local -a words"
    yield "    COMPREPLY=()"
    yield '    read -ra words <<<"$line"'
    yield "    cur=${line##*[[:space:]]}"
    yield "    [[ -z $cur ]] || unset 'words[${#words[@]}-1]'"
    yield '    for word in "${words[@]:1}"; do'
    yield "        if [[ -n $previous ]]; then previous=; continue; fi"
    yield "        case $command:$word in"
    for node in [root, *root.children]:
        names = [name for option in _value_options(node.options) for name in option.names]
        prefix = "" if node is root else node.name
        if names:
            yield f"            {' | '.join(f'{prefix}:{name}' for name in names)}) previous=$word ;;"
    yield "            *:-*) ;;"
    yield "            :*) command=$word ;;"
    yield "            *) place=$((place + 1)) ;;"
    yield "        esac"
    yield "    done"
    yield "    case $command in"
    for node in [root, *root.children]:
        yield f"        {shlex.quote(node.name) if node is not root else chr(39) * 2})"
        yield from (f"            {line}" for line in _bash_node(node))
        yield "            ;;"
    yield "    esac"
    yield "    _mlver_trim"
    yield "}"
    yield "complete -F _mlver mlver"


def _bash_node(node: Node) -> Iterator[str]:
    yield "case $previous in"
    for option in _value_options(node.options):
        yield f"    {' | '.join(option.names)}) {_bash_offer(option)}; _mlver_trim; return ;;"
    yield "esac"
    yield f'if [[ $cur == -* ]]; then _mlver_offer words "{_names(node.options)}"; return; fi'
    if node.children:
        yield f'_mlver_offer words "{" ".join(child.name for child in node.children)}"'
    for position, argument in enumerate(node.arguments):
        test = f"place >= {position}" if argument.many else f"place == {position}"
        yield f"if (({test})); then {_bash_offer(argument)}; fi"


def _bash_offer(parameter: Option | Argument) -> str:
    if parameter.choices:
        return f'_mlver_offer words "{" ".join(parameter.choices)}"'
    return f"_mlver_offer {parameter.completer}"


# zsh


def _zsh(root: Node) -> Iterator[str]:
    yield f"#compdef {root.name}"
    yield _HEADER
    yield ""
    yield "_mlver_names() {"
    yield "    local -a names"
    yield '    names=(${(f)"$(mlver __complete $1 "${(Q)PREFIX}" 2>/dev/null)"})'
    yield "    compadd -a names"
    yield "}"
    yield ""
    yield "_mlver() {"
    yield "    local context state state_descr line"
    yield "    typeset -A opt_args"
    yield "    _arguments -C -s \\"
    yield from (f"        {spec} \\" for spec in map(_zsh_option, root.options))
    yield "        '1: :->command' '*:: :->rest' && return"
    yield "    case $state in"
    yield "        command)"
    yield "            local -a commands"
    yield "            commands=("
    for child in root.children:
        described = f"{child.name}:{child.summary}"
        yield f"                {_single(described)}"
    yield "            )"
    yield "            _describe command commands"
    yield "            ;;"
    yield "        rest)"
    yield "            case $words[1] in"
    for child in root.children:
        yield f"                {child.name})"
        specs = [*map(_zsh_option, child.options), *map(_zsh_argument, child.arguments)]
        yield "                    _arguments -s \\"
        yield from (f"                        {spec} \\" for spec in specs[:-1])
        yield f"                        {specs[-1]}"
        yield "                    ;;"
    yield "            esac"
    yield "            ;;"
    yield "    esac"
    yield "}"
    yield ""
    yield '_mlver "$@"'


def _zsh_option(option: Option) -> str:
    described = f"[{_zsh_escape(option.help)}]"
    value = f":{_zsh_escape(option.metavar)}:{_zsh_action(option)}" if option.metavar else ""
    if option.repeatable:
        return " ".join(_single(f"*{name}{described}{value}") for name in option.names)
    if len(option.names) == 1:
        return _single(f"{option.names[0]}{described}{value}")
    either = "{" + ",".join(option.names) + "}"
    return _single(f"({' '.join(option.names)})") + either + _single(described + value)


def _zsh_argument(argument: Argument) -> str:
    place = "*" if argument.many else "" if argument.required else ":"
    return _single(f"{place}:{_zsh_escape(argument.metavar.strip('[].'))}:{_zsh_action(argument)}")


def _zsh_action(parameter: Option | Argument) -> str:
    if parameter.choices:
        return f"({' '.join(parameter.choices)})"
    if parameter.completer in DYNAMIC:
        return f" _mlver_names {parameter.completer}"  # the blank keeps zsh from adding arguments
    return {"files": "_files", "folders": "_files -/", "nothing": " "}[parameter.completer]


def _zsh_escape(text: str) -> str:
    for char in "\\[]:":
        text = text.replace(char, f"\\{char}")
    return text


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


# fish


def _fish(root: Node) -> Iterator[str]:
    yield f"# fish completion for {root.name}"
    yield _HEADER
    yield "complete -c mlver -f"
    for option in root.options:
        yield f"complete -c mlver -n __fish_use_subcommand {_fish_option(option)}"
    for child in root.children:
        yield f"complete -c mlver -n __fish_use_subcommand -a {child.name} -d {_fish_quote(child.summary)}"
    for child in root.children:
        condition = f"-n '__fish_seen_subcommand_from {child.name}'"
        for option in child.options:
            yield f"complete -c mlver {condition} {_fish_option(option)}"
        for action in dict.fromkeys(filter(None, map(_fish_action, child.arguments))):
            yield f"complete -c mlver {condition} {action}"


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    value = [f"-r {_fish_action(option)}".strip()] if option.metavar else []
    return " ".join([*names, *value, f"-d {_fish_quote(option.help)}"])


def _fish_action(parameter: Option | Argument) -> str:
    if parameter.choices:
        return f"-a {_fish_quote(' '.join(parameter.choices))}"
    if parameter.completer in DYNAMIC:
        return f"-a '(mlver __complete {parameter.completer} (commandline -ct))'"
    return {"files": "-F", "folders": "-a '(__fish_complete_directories)'", "nothing": ""}[parameter.completer]


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
