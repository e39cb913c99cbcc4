"""Takes the screenshot of a real diff: `python -m dev.screenshot FOLDER`, which writes docs/diff.svg.

FOLDER is a series of checkpoints that `benchmarks/checkpoints.py` trained, such as `mlm-fp32`. Its second and its last
one become two versions, and `mlver diff` runs on a terminal of its own.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import pty
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "diff.svg"
COLUMNS, ROWS = 104, 60
COMMAND = ("diff", "v0", "v1")
_RATE, _STEPS, _HORIZON = 5e-5, 40, 12


def run_on_terminal(command: list[str], folder: Path) -> str:
    """Return what a command writes to a terminal of `COLUMNS` by `ROWS`, colours and all."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PAGER": "cat", "PYTHONPATH": str(ROOT)}
    environment.pop("NO_COLOR", None)
    environment.pop("COLUMNS", None)
    with subprocess.Popen(command, cwd=folder, stdout=writer, stderr=subprocess.DEVNULL, env=environment) as process:
        os.close(writer)
        written = bytearray()
        while part := _read(reader):
            written += part
    os.close(reader)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    return written.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    """Return what comes next; nothing once the other end is closed, which Linux tells as an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def make_versions(series: Path, folder: Path) -> None:
    """Make two versions of checkpoints, each with the configuration it was trained with."""
    files = sorted(series.iterdir())
    mlver = [sys.executable, "-m", "mlver"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*mlver, "init", "-q"], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    model = folder / "model"
    model.mkdir()
    for file in (files[1], files[-1]):
        step = int(file.stem.rpartition("-")[2])
        rate = _RATE * (0.5 + 0.5 * math.cos(math.pi * step / (_STEPS * _HORIZON)))
        settings = {"optimizer": {"name": "AdamW", "learning_rate": float(f"{rate:.3g}")}, "steps": step}
        shutil.copy(file, model / "model.safetensors")
        (model / "config.json").write_text(json.dumps(settings, indent=1))
        add = [*mlver, "add", "model", "--name", "minilm", "--type", "encoder", "-q"]
        subprocess.run(add, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)


def draw(shown: str) -> str:
    """Return an SVG of what a terminal showed, without fonts from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    console.print(Text.from_ansi(f"$ mlver {' '.join(COMMAND)}\n{shown}"))
    drawn = console.export_svg(title="mlver", theme=MONOKAI, unique_id="diff")
    start, end = drawn.index("@font-face"), drawn.rindex("@font-face")
    end = drawn.index("}", end) + 1
    return drawn[:start] + drawn[end:].lstrip()


def main() -> None:
    """Write the screenshot."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dev.screenshot FOLDER")
    with tempfile.TemporaryDirectory() as folder:
        make_versions(Path(sys.argv[1]), Path(folder))
        shown = run_on_terminal([sys.executable, "-m", "mlver", *COMMAND], Path(folder))
    TARGET.write_text(draw(shown), encoding="utf-8")
    print(shown)


if __name__ == "__main__":
    main()
