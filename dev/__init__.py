"""Tools for developers of mlver; no part of the package."""

from __future__ import annotations
