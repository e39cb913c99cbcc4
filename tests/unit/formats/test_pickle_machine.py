"""Hostile pickles: a declared error, in bounded time and memory."""

from __future__ import annotations

import pickle
import tracemalloc

import pytest

from mlver.formats import pickle_machine, tensor_names, unique_names
from mlver.formats.layout import FormatError
from mlver.formats.pickle_machine import PickleMachine
from mlver.formats.tensor_names import named_tensors
from mlver.formats.torch_globals import Record, Storage, StridedTensor


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_pickle_reads_them(protocol: int) -> None:
    values = [
        1,
        -1,
        300,
        70_000,
        1 << 40,
        1 << 100,
        0.5,
        "text",
        "ä",
        None,
        True,
        False,
        (),
        (1,),
        (1, 2),
        (1, 2, 3, 4),
    ]
    assert PickleMachine().run(pickle.dumps(values, protocol)) == values


def test_shared_values_stay_shared() -> None:
    shared = ["x"]
    read = PickleMachine().run(pickle.dumps([shared, shared]))
    assert isinstance(read, list)
    assert read[0] is read[1]


def test_a_dictionary_keeps_all_its_items_in_order() -> None:
    read = PickleMachine().run(pickle.dumps({"b": 1, 2: None, "a": [3]}))
    assert isinstance(read, Record)
    assert read.items == [("b", 1), (2, None), ("a", [3])]


@pytest.mark.parametrize(
    "pickled",
    [
        b"",
        b".",
        b"0.",
        b"1.",
        b"2.",
        b"a.",
        b"e.",
        b"s.",
        b"u.",
        b"R.",
        b"b.",
        b"Q.",
        b"\x81.",
        b"\x92.",
        b"\x93.",
        b"o.",
        b"t.",
        b"\x85.",
        b"N\x86.",
        b"\x87.",
        b"\x94.",
        b"N",
        b"NNa.",
        b"NNNs.",
        b"}(Nu.",
        b"KKKKd.",
        b"(Nd.",
        b"h\x05.",
        b"j\xff\xff\xff\xff.",
        b"g-1\n.",
        b"gx\n.",
        b"Nr\x00\x00\x00\x80.",
        b"Np4294967296\n.",
        b"Np-1\n.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x8b\xff\xff\xff\xff.",
        b"B\xff\xff\xff\xff.",
        b"\x8e" + b"\xff" * 8 + b".",
        b"\x8e" + b"\xff" * 7 + b"\x7f.",
        b"\x8d" + b"\xff" * 7 + b"\x7f.",
        b"X\xff\xff\xff\x7f.",
        b"\x96" + b"\xff" * 7 + b"\x7f.",
        b"\x97.",
        b"\x98.",
        b"I" + b"9" * 5000 + b"\n.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"Fabc\n.",
        b"S'\\q'\n.",
        b"S'\\x'\n.",
        b"V\\ud8\n.",
        b"cos\n.",
        b"c\xff\nname\n.",
        b"c" + b"m" * 600 + b"\nname\n.",
        b"NK\x01\x93.",
        b"\x8c\x03\xed\xa0\x80\x8c\x01x\x93.",
        b"\x00.",
        b"\xff.",
        b"(" * 5000 + b".",
    ],
)
def test_malformed_pickles_raise_the_declared_error(pickled: bytes) -> None:
    with pytest.raises(FormatError):
        PickleMachine().run(pickled)


def test_too_many_opcodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_OPCODES", 1000)
    PickleMachine().run(b"N" * 900 + b".")
    with pytest.raises(FormatError, match="opcodes"):
        PickleMachine().run(b"N" * 1100 + b".")


def test_many_sets_of_its_own_state_do_not_double_an_object() -> None:
    # Each BUILD of an object with itself would double its items if they were copied.
    pickled = b"cm\nC\n)\x81q\x00(KAKBu" + b"h\x00b" * 10_000 + b"."
    tracemalloc.start()
    PickleMachine().run(pickled)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_list_of_lists_of_the_same_list_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_names, "MAX_VISITS", 10_000)
    root = PickleMachine().run(b"]" + b"2\x86" * 200 + b".")  # a pair of the pair of the pair of …
    with pytest.raises(FormatError, match="often"):
        list(named_tensors(root))


def test_deep_values_are_given_up() -> None:
    root = PickleMachine().run(b"]" + b"\x85" * 100_000 + b".")
    with pytest.raises(FormatError, match="deeply"):
        list(named_tensors(root))


def test_visits_of_empty_states_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_names, "MAX_VISITS", 100_000)
    many_states = b"cm\nC\n)\x81q\x00" + b")b" * 2000
    root = PickleMachine().run(b"]q\x01(" + many_states + b"h\x00" * 2000 + b"e.")
    with pytest.raises(FormatError, match="often"):
        list(named_tensors(root))


def test_visits_of_empty_dictionaries_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_names, "MAX_VISITS", 100_000)
    with_empty_arguments = b"cm\nC\n(" + b"}" * 2000 + b"tRq\x00"
    root = PickleMachine().run(b"]q\x01(" + with_empty_arguments + b"h\x00" * 2000 + b"e.")
    with pytest.raises(FormatError, match="often"):
        list(named_tensors(root))


@pytest.mark.parametrize(("limit", "value"), [("MAX_TENSORS", 9), ("MAX_ALL_NAMES_CHARACTERS", 100)])
def test_too_many_tensors_are_given_up(monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    tensor = StridedTensor(Storage("0", "F32", 4), "F32", (), (), 0)
    root = Record([("n" * 20, [tensor] * 10)])
    assert len(list(named_tensors(root))) == 10
    monkeypatch.setattr(unique_names, limit, value)
    with pytest.raises(FormatError, match="too many"):
        list(named_tensors(root))


def test_long_names_are_given_up() -> None:
    deep: object = 0
    for _ in range(10):
        deep = {"k" * 1000: deep, "tensor": [[]]}
    with pytest.raises(FormatError, match="name"):
        list(named_tensors(PickleMachine().run(pickle.dumps(deep))))
