"""Which tensors belong together, by manifests alone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mlver.history.manifest import FileEntry, Manifest, TensorEntry
from mlver.ids import FileDigest
from mlver.ops.diff.result import TensorChanges
from mlver.ops.diff.tensors import natural_order, pair_tensors

Files = Mapping[str, Mapping[str, str]]
"""Tensors by file: name and content; contents with other first words have other shapes."""


def manifest(files: Files) -> Manifest:
    entries = tuple(FileEntry(path, 8, FileDigest(path), ()) for path in sorted(files))
    tensors = tuple(
        TensorEntry(name, "F32", (len(content.split()[0]),), content, number, 0, 4)
        for number, entry in enumerate(entries)
        for name, content in files[entry.path].items()
    )
    return Manifest(entries, (), tensors, None)


def pairs(before: Files, after: Files) -> TensorChanges:
    return pair_tensors(manifest(before), manifest(after))


def one(tensors: Mapping[str, str], path: str = "m.safetensors") -> Files:
    return {path: tensors}


def renamed(found: TensorChanges) -> dict[str, str]:
    return {pair.from_name: pair.name for pair in found.renamed}


def test_by_name() -> None:
    found = pairs(one({"a": "x", "b": "x", "gone": "p"}), one({"a": "x", "b": "y", "new": "q"}))
    assert found.unchanged == ("a",)
    assert [(pair.name, pair.before.digest, pair.after.digest) for pair in found.changed] == [("b", "x", "y")]
    assert (list(found.added), list(found.removed), found.total) == (["new"], ["gone"], 3)


def test_the_same_content_under_another_name() -> None:
    found = pairs(one({"a": "x", "b": "y"}), one({"a": "x", "c": "y"}))
    assert renamed(found) == {"b": "c"}
    assert not found.changed
    assert not found.added


def test_of_equal_contents_the_name_with_the_same_end() -> None:
    found = pairs(one({"old.0.bias": "0", "old.1.bias": "0"}), one({"new.1.bias": "0", "new.0.bias": "0"}))
    assert renamed(found) == {"old.0.bias": "new.0.bias", "old.1.bias": "new.1.bias"}


def test_many_equal_contents_prove_nothing() -> None:
    before, after = ({f"{side}{n}": "zeros" for n in range(20)} for side in "ab")
    assert not pairs(one(before), one(after)).renamed


@pytest.mark.parametrize(
    ("old", "new"), [("", "module."), ("model.", ""), ("model.", "base_model.model."), ("a.b.", "c.")]
)
def test_a_prefix_that_all_got_lost_or_changed(old: str, new: str) -> None:
    names = [f"layer.{n}.{part}" for n in range(30) for part in ("weight", "bias")]
    before = {old + name: f"{name} before" for name in names}
    after = {new + name: f"{name} after" for name in names}
    found = pairs(one(before), one(after))
    assert renamed(found) == {old + name: new + name for name in names}
    assert len(found.changed) == 60
    assert not found.added
    assert not found.removed


def test_one_common_end_is_no_prefix_that_changed() -> None:
    found = pairs(one({"encoder.weight": "a before"}), one({"decoder.weight": "a after"}))
    assert (list(found.added), list(found.removed)) == (["decoder.weight"], ["encoder.weight"])


def test_other_shapes_do_not_belong_together() -> None:
    before, after = ({f"{side}.{n}": f"{'x' * length} {n}" for n in range(5)} for side, length in (("a", 1), ("b", 2)))
    assert not pairs(one(before), one(after)).renamed


def test_neither_format_nor_sharding_nor_folder_matters() -> None:
    whole = one({"a": "x", "b": "y"}, "m.pt")
    sharded = {"x/1.safetensors": {"a": "x"}, "x/2.safetensors": {"b": "y"}}
    assert pairs(whole, sharded).unchanged == ("a", "b")


def test_files_of_several_folders() -> None:
    before = {"text/m.pt": {"w": "x"}, "vision/m.pt": {"w": "y"}}
    after = {"all/text/n.pt": {"w": "x"}, "all/vision/n.pt": {"w": "z"}}
    found = pairs(before, after)
    assert found.unchanged == ("text:w",)
    assert [pair.name for pair in found.changed] == ["vision:w"]


def test_files_of_one_folder_with_the_same_names() -> None:
    before, after = ({"a.npy": {"arr_0": "x"}, "b.npy": {"arr_0": last}} for last in "yz")
    found = pairs(before, after)
    assert found.unchanged == ("a.npy:arr_0",)
    assert [pair.name for pair in found.changed] == ["b.npy:arr_0"]


def test_anonymous_tensors_are_not_named() -> None:
    entry = FileEntry("m.pt", 8, FileDigest("m.pt"), ())
    made = Manifest((entry,), (), (TensorEntry("s", "U8", (4,), "x", 0, 0, 4, anonymous=True),), None)
    assert pair_tensors(made, made).total == 0


def test_natural_order() -> None:
    names = ["layer.10.w", "layer.2.w", "layer.2.b", "head", "layer"]
    assert sorted(names, key=natural_order) == ["head", "layer", "layer.2.b", "layer.2.w", "layer.10.w"]


def test_thousands_of_tensors_of_two_models_take_no_time() -> None:
    kinds = ("q", "k", "v", "o", "up", "down", "gate", "norm", "bias", "scale")
    before, after = (
        {f"{side}.{n}.{kind}.weight": f"x {side}{n}{kind}" for n in range(400) for kind in kinds}
        for side in ("h", "layers")
    )
    found = pairs(one(before), one(after))
    assert len(found.renamed) == 4000
