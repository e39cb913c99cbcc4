"""One module a command; `mlver.cli.app` tells the convention. Nothing is imported here: only the one called is."""

from __future__ import annotations
