"""`mlver show RUN`: everything known about one run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from mlver.cli.log_trends import sparkline
from mlver.cli.output import Column, Output, Piece
from mlver.cli.run_documents import run_document
from mlver.cli.run_views import status_piece
from mlver.cli.style import Styled
from mlver.cli.text import count, duration, number, size
from mlver.cli.views import age_since
from mlver.history.records import LinkedVersion, RunRecord
from mlver.ops.runs.details import RunDetails

_OUTPUT_LINES = 20


def details_document(details: RunDetails) -> dict[str, Any]:
    """Return a run with its circumstances and the end of its output."""
    return {
        **run_document(details.run),
        "record": details.record,
        "courses": details.courses,
        "output": details.output,
        "missing": list(details.missing),
    }


def show_details(out: Output, details: RunDetails) -> None:
    """Show a run."""
    run = details.run
    with out.paged():
        out.line(Styled("run ", "keyword"), Styled(run.title, "heading"))
        out.fields(_fields(run))
        _values(out, "Config", run.config)
        _metrics(out, details)
        _links(out, "Used", run.inputs)
        _links(out, "Made", run.outputs)
        out_fields = list(_circumstances(details))
        if out_fields:
            out.line()
            out.heading("Circumstances")
            out.fields(out_fields)
        _values(out, "Environment", details.record.get("environment"))
        if details.output:
            out.line()
            lines = details.output.rstrip("\n").split("\n")
            shown = lines[-_OUTPUT_LINES:]
            rest = f", {count(len(lines) - len(shown), 'line')} before (--json)" if len(shown) < len(lines) else ""
            out.heading(f"End of its output{rest}")
            out.block("\n".join(shown), indent="  ")
    for problem in details.missing:
        out.warn(problem)


def _fields(run: RunRecord) -> Iterator[tuple[str, Piece]]:
    yield "id", run.id
    if run.name:
        yield "name", run.name
    if run.job_type:
        yield "job type", run.job_type
    yield "status", status_piece(run.status)
    if run.exit_code:
        yield "exit code", str(run.exit_code)
    yield "started", f"{age_since(run.started_at)} by {run.started_by} ({run.started_at})"
    if run.duration_seconds is not None:
        yield "took", duration(run.duration_seconds)


def _values(out: Output, title: str, values: object) -> None:
    if not isinstance(values, dict) or not values:
        return
    out.line()
    out.heading(title)
    out.fields((str(key), number(value)) for key, value in sorted(values.items()))


def _metrics(out: Output, details: RunDetails) -> None:
    rows: list[list[Piece]] = []
    for name, summary in sorted(details.run.metrics.items()):
        course = details.courses.get(name)
        not_numbers = f"{summary.nan_count:,} no number" if summary.nan_count else ""
        numbers = ["" if value is None else number(value) for value in (summary.last, summary.min, summary.max)]
        points = f"{summary.value_count:,}"
        rows.append([Styled(name, "name"), sparkline(course) if course else "", *numbers, points, not_numbers])
    if not rows:
        return
    out.line()
    columns = [
        Column("METRIC"),
        Column("COURSE"),
        *(Column(title, "right") for title in ("LAST", "MIN", "MAX", "VALUES")),
    ]
    out.table([*columns, Column("")], rows)


def _links(out: Output, title: str, links: Sequence[LinkedVersion]) -> None:
    if not links:
        return
    out.line()
    out.heading(title)
    for link in links:
        role = f"  as {link.role}" if link.role else ""
        out.line("  ", Styled(link.name, "name"), role, Styled("" if link.is_known else "  not known here", "warning"))


def _circumstances(details: RunDetails) -> Iterator[tuple[str, Piece]]:
    record = details.record
    command = record.get("command")
    if isinstance(command, list) and command:
        yield "command", shlex.join(map(str, command))
    if record.get("folder"):
        yield "folder", number(record["folder"])
    yield from _code(details.run.code, record.get("code"))
    if record.get("user"):
        yield "user", number(record["user"])
    yield from _machine(record)


def _code(code: dict[str, Any], recorded: object) -> Iterator[tuple[str, Piece]]:
    if code.get("commit"):
        branch = f" on {code['branch']}" if code.get("branch") else ""
        kept = " (kept as a patch)" if code.get("patch") else ""
        dirty = f", with changes that were not committed{kept}" if code.get("dirty") else ""
        yield "commit", f"{code['commit']}{branch}{dirty}"
    if code.get("remote"):
        yield "remote", number(code["remote"])
    if isinstance(recorded, dict) and recorded.get("untracked_count"):
        yield "not in git", _some(recorded.get("untracked"), recorded["untracked_count"])


def _some(names: object, total: object) -> str:
    shown = [str(name) for name in names[:5]] if isinstance(names, list) else []
    return ", ".join(shown) if len(shown) == total else f"{', '.join(shown)}, … ({number(total)} in all)"


def _machine(record: dict[str, Any]) -> Iterator[tuple[str, Piece]]:
    host, python, packages = record.get("host"), record.get("python"), record.get("packages")
    if isinstance(host, dict):
        yield "machine", ", ".join(number(value) for value in (host.get("name"), host.get("system")) if value)
    hardware = record.get("hardware")
    if isinstance(hardware, dict):
        yield "hardware", ", ".join(_hardware(hardware))
    if isinstance(python, dict) and python:
        version = f" ({number(python['version'])})" if python.get("version") else ""
        yield "Python", f"{number(python.get('executable'))}{version}"
    if packages and isinstance(packages, dict):
        yield "packages", f"{len(packages):,} (--json lists them)"


def _hardware(hardware: dict[str, Any]) -> Iterator[str]:
    if hardware.get("cpu"):
        yield number(hardware["cpu"])
    if hardware.get("cores"):
        yield count(int(hardware["cores"]), "core")
    if isinstance(hardware.get("memory_bytes"), int):
        yield f"{size(hardware['memory_bytes'])} of memory"
    gpus = hardware.get("gpus")
    for gpu in gpus if isinstance(gpus, list) else []:
        if isinstance(gpu, dict) and gpu.get("name"):
            memory = f" with {size(gpu['memory_bytes'])}" if isinstance(gpu.get("memory_bytes"), int) else ""
            yield f"{number(gpu['name'])}{memory}"
