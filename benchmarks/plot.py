"""Draws bytes stored over the number of checkpoints: `python benchmarks/plot.py FOLDER docs/storage.svg`.

FOLDER is what `checkpoints.py` made. A panel is a series, a line a tool; the height is bytes stored after so many
versions ÷ the raw bytes of these versions. Level max is drawn as if the repository were repacked after each version.
The others' figures are taken from FOLDER/storage.json where `storage.py` put them, and measured where it did not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from keepers import OURS, PEERS, REFERENCE, Tool
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from storage import Survey

SERIES = {
    "pairs-fp32": "fine-tuning, FP32",
    "pairs-bf16": "the same, cast to BF16",
    "scratch": "from scratch, .pt with AdamW's state",
}
LINES: dict[str, dict[str, object]] = {
    "DVC": {"color": "#b8b8b8", "ls": "-", "marker": "x"},
    "restic, max": {"color": "#9a9a9a", "ls": "-", "marker": "v"},
    "borg, zstd,3": {"color": "#6b6b6b", "ls": "-", "marker": "^"},
    "zstd -3 --patch-from chain": {"color": "#c98a1b", "ls": "-", "marker": "s"},
    "zipnn chain": {"color": "#a8425b", "ls": "-", "marker": "D"},
    REFERENCE.name: {"color": "#000000", "ls": "--", "marker": ""},
    "mlver fast": {"color": "#8fc1e3", "ls": "-", "marker": "o"},
    "mlver balanced": {"color": "#2f7fbf", "ls": "-", "marker": "o"},
    "mlver max": {"color": "#0b3c6f", "ls": "-", "marker": "o"},
}
"""What is drawn, in the order of the legend, and how."""

Curves = Mapping[str, Mapping[str, list[float]]]


def measure(survey: Survey) -> Curves:
    """Return the ratios after each version, by series and tool."""
    tools = [tool for tool in (REFERENCE, *OURS, *PEERS) if tool.name in LINES]
    return {name: {tool.name: curve(survey, tool, name) for tool in tools if tool.installed()} for name in SERIES}


def curve(survey: Survey, tool: Tool, name: str) -> list[float]:
    """Return the ratios of a tool after each version of a series."""
    files = survey.files(name)
    sizes = survey.measure([tool], {name: files})[tool.name, name]
    if len(sizes) < len(files):
        starts = {f"{name}, {count}": files[:count] for count in range(1, len(files))}
        found = survey.measure([tool], starts)
        sizes = [*(found[tool.name, start][-1] for start in starts), sizes[-1]]
    raw = [sum(file.stat().st_size for file in files[: count + 1]) for count in range(len(files))]
    return [size / whole for size, whole in zip(sizes, raw, strict=True)]


def draw(axes: Axes, title: str, curves: Mapping[str, list[float]]) -> None:
    """Draw a series."""
    for name, style in LINES.items():
        if name in curves:
            counts = range(1, len(curves[name]) + 1)
            axes.plot(counts, curves[name], label=name, lw=1.6, ms=4, zorder=3 if "mlver" in name else 2, **style)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel("checkpoints stored")
    axes.set_ylim(0, 1.05)
    axes.grid(axis="y", color="#e4e4e4", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what checkpoints.py made")
    parser.add_argument("picture", type=Path, help="the SVG to write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many tools to run at a time")
    parser.add_argument("--work", type=Path, help="where to work, by default the folder for temporary files")
    arguments = parser.parse_args()
    # The same figures make the same file.
    mpl.rcParams |= {"svg.hashsalt": "mlver", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    curves = measure(Survey(arguments.folder, arguments.work, quick=False, jobs=arguments.jobs))
    figure, panels = plt.subplots(1, len(SERIES), figsize=(11, 4.6), sharey=True, layout="constrained")
    for axes, (name, title) in zip(panels, SERIES.items(), strict=True):
        draw(axes, title, curves[name])
    panels[0].set_ylabel("bytes stored ÷ raw")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(arguments.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
