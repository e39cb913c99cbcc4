"""docs/format.md suffices to read a repository: a reader written from it alone restores and checks everything."""

from __future__ import annotations

import ast
import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlver import Repository
from tests.golden import make_layout_1, make_runs, make_signatures, reader
from tests.golden.make_layout_1 import FOLDER, STORED_AS, bf16, floats, pruned, safetensors
from tests.golden.test_layout_1 import EXPECTED, facts

GOLDEN = FOLDER / STORED_AS
NEEDED = {
    *("RAW", "ZSTD", "PLANES", "SPARSE", "SPARSE apart"),
    *("PLANES 1", "PLANES 2", "PLANES 2 moved", "PLANES 4", "PLANES 4 moved", "PLANES 8"),
    *("plane RAW", "plane ZSTD", "plane CONSTANT", "plane NIBBLES"),
}


def test_reader_imports_nothing_of_mlver() -> None:
    tree = ast.parse(Path(reader.__file__).read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in imports if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert roots == {"blake3", "xxhash", "zstandard"}


def test_golden_repository_comes_back(tmp_path: Path) -> None:
    repository = reader.Repository(GOLDEN)
    repository.restore_all(tmp_path)
    restored = {
        f"{artifact.name}:v{number}": facts(tmp_path / artifact.name / f"v{number}")
        for artifact in repository.artifacts
        for number in artifact.versions
    }
    assert restored == EXPECTED["files"]
    assert NEEDED - repository.needed.keys() == set()


def test_what_a_collector_has_set_aside_is_found(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN, tmp_path / "aside")
    for folder in ("packs", "manifests"):
        for place in sorted((tmp_path / "aside" / folder).iterdir()):
            place.rename(place.with_name(f"{place.name.partition('.')[0]}.{5:016x}.aside"))
    reader.Repository(tmp_path / "aside").restore_all(tmp_path / "out")
    reader.Repository(GOLDEN).restore_all(tmp_path / "whole")
    files = [path for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_golden_history_is_what_mlver_says() -> None:
    repository = reader.Repository(GOLDEN)
    assert (repository.current, repository.identity) == ("encoder", "ada@workstation")
    assert [_log(artifact) for artifact in sorted(repository.artifacts, key=lambda each: each.name)] == [
        {"artifact": log["artifact"], "type": log["type"], "versions": [_known(each) for each in log["versions"]]}
        for log in EXPECTED["logs"]
    ]


def test_golden_repository_uses_every_action_and_format() -> None:
    roots = [GOLDEN, make_runs.FOLDER / STORED_AS, make_signatures.FOLDER / STORED_AS]
    logs = [log for root in roots for log in (*root.glob("names"), *root.glob("runs/log"), *(root / "log").iterdir())]
    actions = {action["do"] for log in logs for event in reader.read_log(log) for action in event["actions"]}
    assert actions == reader.FIELDS.keys() | reader.RUN_FIELDS.keys()
    repository = reader.Repository(GOLDEN)
    manifests = [repository.manifest(each) for found in repository.artifacts for each in found.versions.values()]
    files = [file for manifest in manifests for file in manifest["files"]]
    tensors = [tensor for manifest in manifests for tensor in manifest["tensors"]]
    assert {file.get("format") for file in files} == {"safetensors", "torch", "npy", "npz", "opaque", None}
    assert any(file.get("executable") for file in files)
    assert any(file.get("unsafe_globals") for file in files)
    assert any(len(file["chunks"]) > 1 and "format" not in file for file in files)
    assert {tensor.get("order", "C").partition(":")[0] for tensor in tensors} == {"C", "F", "strides"}
    assert any(tensor.get("anonymous") for tensor in tensors)
    assert any(tensor["size"] > reader.TENSOR_CUT for tensor in tensors)
    assert any(manifest["folders"] for manifest in manifests)


def test_it_runs_by_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-I", reader.__file__, str(GOLDEN), str(tmp_path / "out")]
    subprocess.run(command, check=True, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, timeout=120)
    assert facts(tmp_path / "out" / "corpus" / "v0") == EXPECTED["files"]["corpus:v0"]


def test_fresh_repository_comes_back(tmp_path: Path) -> None:
    """What mlver writes today is what the page says, also where the golden repository is old."""
    files = make_layout_1.encoder(5) | make_layout_1.sharded() | make_layout_1.corpus() | _more()
    make_layout_1.write(tmp_path / "model", files)
    with Repository.init(tmp_path) as made:
        made.add(tmp_path / "model", name="m", type="t", aliases=["best"], tags=["x"], metadata={"a": [1.5, None]})
        (tmp_path / "model" / "more.bin").write_bytes(random.Random(1).randbytes(700_000))
        made.add(tmp_path / "model")
        made.rename("m", "n")
        made.note("n:v0", "twice")
        made.undo("n")
        made.remove("n:v1")
        wanted = [made.log("n", removed=True)[0].weights, made.resolve("n:v0").id]
    repository = reader.Repository(tmp_path / ".mlver")
    repository.restore_all(tmp_path / "out")
    assert facts(tmp_path / "out" / "n" / "v1") == facts(tmp_path / "model")
    (artifact,) = repository.artifacts
    assert (artifact.name, artifact.folder, artifact.latest, artifact.aliases) == ("n", "m", 0, {"best": 0})
    assert [artifact.versions[1].said["weights"], artifact.versions[0].manifest] == wanted
    assert NEEDED - repository.needed.keys() == set()


def _more() -> make_layout_1.Files:
    """Return tensors of odd sizes and orders, larger than a chunk and at its edges."""
    repeated = bf16(floats(1000, 20)) * 1100
    edge = bytes(range(256)) * (reader.TENSOR_CUT // 256)
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {
        "large": ("BF16", (1100, 1000), repeated),
        "one chunk": ("U8", (len(edge),), edge),
        "one more byte": ("U8", (len(edge) + 1,), edge + b"x"),
        "complex": ("C64", (257,), struct.pack("<514f", *floats(514, 21))),
        "sparse": ("F64", (999,), struct.pack("<999d", *pruned(floats(999, 22), 20))),
        "new type": ("F4", (33, 2), random.Random(23).randbytes(33)),
    }
    return {"deep/er/more.safetensors": safetensors(tensors), "deep/er/model.safetensors": safetensors(tensors)}


@pytest.mark.parametrize("kind", ["packs", "manifests", "names", "log/draft", "log/moves"])
def test_reader_sees_every_flipped_byte(tmp_path: Path, kind: str) -> None:
    """The reader is no oracle unless it checks: one flipped bit anywhere is found."""
    root = tmp_path / "copy"
    shutil.copytree(GOLDEN, root)
    source = random.Random(kind)
    files = [path for path in sorted((root / kind).iterdir()) if path.is_file()]
    for path in [files[-1], *source.sample(files, min(3, len(files)))]:
        path.chmod(0o644)
        whole = path.read_bytes()
        for _ in range(5):
            at = source.randrange(len(whole))
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << source.randrange(8)]) + whole[at + 1 :])
            with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, it is not silence
                reader.Repository(root).restore_all(tmp_path / f"{path.name}-{at}")
        path.write_bytes(whole)
    reader.Repository(root).restore_all(tmp_path / "whole")


def _log(artifact: reader.Artifact) -> dict[str, Any]:
    by_version: dict[int, list[str]] = {}
    for alias, number in [("latest", artifact.latest), *sorted(artifact.aliases.items())]:
        if number is not None:
            by_version.setdefault(number, []).append(alias)
    versions = [
        {
            "version": f"v{version.number}",
            "id": version.manifest,
            "created_at": version.at,
            "created_by": version.by,
            "note": version.note,
            "aliases": by_version.get(version.number, []),
            "tags": sorted(version.tags),
            "metadata": version.metadata,
            "metrics": version.metrics,
            "removed": version.removed,
            **{name: version.said[name] for name in ("message", "provenance", "logical_bytes", "weights")},
        }
        for version in sorted(artifact.versions.values(), key=lambda each: -each.number)
    ]
    return {"artifact": artifact.name, "type": artifact.type, "versions": versions}


def _known(version: dict[str, Any]) -> dict[str, Any]:
    unread = ("artifact", "type", "new_bytes", "stored_bytes", "file_count", "tensor_count")
    return {name: value for name, value in version.items() if name not in unread}


def _stored(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith("index.sqlite")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_same_content_has_the_same_ids_today(tmp_path: Path) -> None:
    """Cuts, digests and canonical forms are what they were: ids that people wrote down still mean what they meant."""
    make_layout_1.build(tmp_path, turns=1)
    ids, golden = ({path.name for path in (root / "manifests").iterdir()} for root in (tmp_path / ".mlver", GOLDEN))
    assert ids == golden
