"""Fuzzes one of the other parsers of foreign bytes, guided by coverage: `dev/fuzz` runs it for each.

Needs `atheris` (the extra `fuzz`). What it finds is kept in `parser_crashes/`; `test_parsers` reads that ever after.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> None:
    """Put good input of the parser named first into its corpus, and fuzz until the time is over."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mlver"]):
        parsers = importlib.import_module("tests.fuzz.parsers")
    name = sys.argv.pop(1)
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, raw in enumerate(parsers.PARSERS[name].seeds()):
        (folder / f"good-{number}").write_bytes(raw)
    crashes = Path(__file__).parent / "parser_crashes"
    crashes.mkdir(exist_ok=True)
    options = [f"-artifact_prefix={crashes}/{name}-", "-timeout=10", "-rss_limit_mb=1024", "-max_len=32768"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(folder)], partial(parsers.check, name))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
