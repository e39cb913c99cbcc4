"""What must not be recorded: passwords, tokens and keys in command lines, settings and URLs.

Nobody can know every secret. What has the name of one is masked, what has the form of one, and every value of an
environment variable that has such a name, wherever it stands in what a command was called with or wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlver.store.objects.address import without_secrets

MASK = "***"
_SECRET = re.compile(
    r"auth(?:orization)?|bearer|credentials?|jwt|secrets?|sshpass|token|\w*(?:apikey|passphrase|passw(?:or)?d)"
)
"""Last words of names; some names are one word, such as PGPASSWORD."""
_OF_SECRET_KEYS = re.compile(r"access|account|api|auth|encryption|private|secret|service|ssh")
"""What makes a secret of a key: an `api key` is one, a `sort key` is none."""
_OF_HARMLESS_TOKENS = re.compile(
    r"begin|[be]os|class|cls|end|image|mask|max|min|n|num|pad|per|prefix|sep|special|start|stop|suffix|unk|use"
)
"""What a model calls a token: `--pad-token 0`."""
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_OPTION = re.compile(r"-{0,2}[A-Za-z_][\w.\-]*")
_FORMS = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}"
    r"|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|AIza[\w-]{30,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})"
    r"|(?<=Bearer )[\w.~+/-]{8,}=*"
)
_LEAST_BYTES = 6
"""Shorter values of secret variables are not looked for: `yes` would be masked everywhere."""


def is_secret_name(name: str) -> bool:
    """Tell whether what has this name is probably secret: `HF_TOKEN`, `--api-key`, `dbPassword`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    while words and words[-1].isdecimal():
        words.pop()
    before, last = ["", "", *words][-2:]
    if last == "key":
        return _OF_SECRET_KEYS.fullmatch(before) is not None
    if last == "pwd":
        return bool(before)  # by itself it is the present folder
    return _SECRET.fullmatch(last) is not None and not (last == "token" and _OF_HARMLESS_TOKENS.fullmatch(before))


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Return the values of environment variables that have the name of a secret, the longest first."""
    values = {value for name, value in environment.items() if is_secret_name(name) and len(value) >= _LEAST_BYTES}
    return sorted((value for value in values if "/" not in value[:1]), key=len, reverse=True)


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without what has the form of a secret, and without these values."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _FORMS.sub(MASK, text)


def masked_arguments(arguments: Sequence[str], secrets: Iterable[str] = ()) -> list[str]:
    """Return a command line as it may be recorded."""
    secrets = tuple(secrets)
    shown: list[str] = []
    follows_secret = False
    for argument in arguments:
        name, separator, _ = argument.partition("=")
        is_option = _OPTION.fullmatch(name) is not None and is_secret_name(name)
        if follows_secret and not argument.startswith("-"):
            shown.append(MASK)
        elif is_option and separator:
            shown.append(f"{name}={MASK}")
        else:
            shown.append(masked(without_secrets(_without_user(argument)), secrets))
        follows_secret = is_option and not separator and name.startswith("-")
    return shown


def masked_values(values: Mapping[str, Any], secrets: Iterable[str] = ()) -> dict[str, Any]:
    """Return settings as they may be recorded: what has the name of a secret is masked, at every level."""
    secrets = tuple(secrets)
    return {
        key: MASK if is_secret_name(key) and _could_be_secret(value) else _masked_value(value, secrets)
        for key, value in values.items()
    }


def _masked_value(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return masked_values(value, secrets)
    if isinstance(value, list | tuple):
        return [_masked_value(item, secrets) for item in value]
    return masked(value, secrets) if isinstance(value, str) else value


def _could_be_secret(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def without_credentials(url: str) -> str:
    """Return the URL of a git remote without user, password and query; `git@host:path` is kept."""
    return without_secrets(_without_user(url))


def _without_user(argument: str) -> str:
    return re.sub(r"(?<=://)[^/@\s]+@", "", argument)


__all__ = [
    "MASK",
    "is_secret_name",
    "masked",
    "masked_arguments",
    "masked_values",
    "secret_values",
    "without_credentials",
]
