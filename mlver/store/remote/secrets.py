"""Keeping credentials out of what is said and kept: those in URLs that people give, and that libraries quote."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^/\s@:]*:(?!\d{1,5}(?:/|$))\S*@|[^/\s]*@)", re.IGNORECASE)
"""A user with a password, which may have a slash in it that ought to be escaped; or something else before `@`."""
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"<>]*\?)[^\s'\"<>]+")


def without_credentials(text: str) -> str:
    """Return a text with `…` for the credentials of all URLs in it."""
    return _CREDENTIALS.sub(r"\1…@", text)


def without_secrets_in(text: str) -> str:
    """Return a text with `…` for the credentials of all URLs in it and for their queries, which may be signatures."""
    return _QUERY.sub(r"\1…", without_credentials(text))
