"""Fuzzes the parsers of weight files, guided by coverage: `dev/fuzz` runs it for each format.

Needs `atheris` (the extra `fuzz`). What it finds is kept in `crashes/`, and `test_crashes` reads that ever after.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_MODULES = [
    *("safetensors", "torch_zip", "torch_legacy", "torch_distributed", "tensorflow"),
    *("npy", "gguf", "onnx", "msgpack", "hdf5"),
]
CORPUS = Path(__file__).parents[2] / "build" / "fuzz"


def main() -> None:
    """Put the valid files of the format named first into its corpus, and fuzz until the time is over."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mlver"]):
        importlib.import_module("mlver.formats")
        for module in _MODULES:
            importlib.import_module(f"mlver.formats.{module}")
    from tests.fuzz.check import check
    from tests.property.test_formats import parsed, valid_files

    name = sys.argv.pop(1)
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, raw in enumerate(valid_files()):
        layout = parsed(raw)
        if layout is not None and layout.format == name:
            (folder / f"valid-{number}").write_bytes(raw)
    crashes = Path(__file__).parent / "crashes"
    crashes.mkdir(exist_ok=True)
    options = [f"-artifact_prefix={crashes}/{name}-", "-timeout=10", "-rss_limit_mb=1024", "-max_len=32768"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(folder)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
