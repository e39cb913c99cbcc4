"""Pickle bytes → plain values, by interpreting opcodes. Nothing is imported, called or built but our own values.

Every opcode makes at most one small value and copies nothing that is already there, so that the limit on their number
bounds memory and time. Unknown globals become names, what they would make becomes a `Record`, and reading goes on.

Source: `pickletools` of Python 3.11 (opcodes), `pickle.py` (`_Unpickler`).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Protocol

from mlver.formats.layout import FormatError
from mlver.formats.torch_globals import (
    ALLOWED_GLOBALS,
    LOSSY_GLOBALS,
    Global,
    Record,
    Storage,
    make_global,
    make_storage,
    rebuild,
)

MAX_OPCODES = 1 << 21
"""Enough for some 70,000 tensors: torch needs 30 an entry. It bounds memory to about 400 MB and time to seconds."""
MAX_MEMO_INDEX = 1 << 31
MAX_UNSAFE_GLOBALS = 1 << 10

_PUSHED_AS_THEY_ARE = frozenset(
    (
        *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)


class Stream(Protocol):
    """What pickles can be read from, one after the other."""

    def read(self, length: int, /) -> bytes:
        """Return the next `length` bytes, fewer only at the end."""

    def readline(self) -> bytes:
        """Return what comes up to a line feed, and that; without one only at the end."""


class PickleMachine:
    """Reads the pickles of one file; afterwards it knows which suspicious names they mention.

    Attributes:
        unsafe_globals: Names outside the allowed list, at most 1024 of them.
        is_lossy: Whether they make arrays with values in the pickle itself.
        storages: The storages they refer to, by key, in order; of several with one key the first.
    """

    def __init__(self) -> None:
        self.unsafe_globals: set[str] = set()
        self.is_lossy = False
        self.storages: dict[str, Storage] = {}
        self._count = 0
        self._stack: list[object] = []
        self._outer: list[list[object]] = []
        self._memo: dict[int, object] = {}
        self._next_memo = 0
        self._actions = self._make_actions()

    def run(self, pickled: bytes | Stream) -> object:
        """Return the value that a pickle describes.

        Args:
            pickled: The pickle, or what it is read from, to its end and no further.

        Raises:
            FormatError: It is malformed, or those that were read are larger than the limits.
        """
        actions = self._actions
        self._stack, self._outer, self._memo, self._next_memo = [], [], {}, 0
        try:
            for opcode, argument, _ in pickletools.genops(pickled):  # type: ignore[arg-type]  # it asks for no more
                if opcode.name in _PUSHED_AS_THEY_ARE:
                    self._stack.append(argument)
                else:
                    actions[opcode.name](argument)
                self._count += 1
                if self._count > MAX_OPCODES:
                    raise FormatError("the pickle has too many opcodes")
            return self._stack[-1]
        except KeyError as error:
            raise FormatError("the pickle uses an opcode or a memo entry that is not there") from error
        except IndexError as error:
            raise FormatError("the pickle takes from an empty stack") from error
        except (ValueError, Warning) as error:  # pickletools warns of odd escapes: an error under -W error
            raise FormatError("the pickle is malformed") from error

    def _make_actions(self) -> dict[str, Callable[[object], None]]:
        actions: dict[str, Callable[[object], None]] = {}
        actions.update(dict.fromkeys(["PROTO", "FRAME", "STOP"], lambda _: None))
        actions.update(dict.fromkeys(["EMPTY_LIST", "EMPTY_SET"], lambda _: self._stack.append([])))
        actions.update(dict.fromkeys(["PUT", "BINPUT", "LONG_BINPUT"], self._put))
        actions.update(dict.fromkeys(["GET", "BINGET", "LONG_BINGET"], self._get))
        actions.update(dict.fromkeys(["TUPLE", "FROZENSET"], lambda _: self._replace_mark(tuple)))
        actions.update(dict.fromkeys(["REDUCE", "NEWOBJ"], lambda _: self._call(self._pop())))
        actions.update(dict.fromkeys(["EXT1", "EXT2", "EXT4"], self._extension))
        actions.update(dict.fromkeys(["APPENDS", "ADDITEMS"], lambda _: self._append(self._pop_mark())))
        actions.update(
            NONE=lambda _: self._stack.append(None),
            NEWTRUE=lambda _: self._stack.append(True),
            NEWFALSE=lambda _: self._stack.append(False),
            EMPTY_TUPLE=lambda _: self._stack.append(()),
            EMPTY_DICT=lambda _: self._stack.append(Record()),
            LIST=lambda _: self._replace_mark(list),
            DICT=lambda _: self._dict(),
            MARK=lambda _: self._mark(),
            POP=lambda _: self._pop_any(),
            POP_MARK=lambda _: self._pop_mark().clear(),
            DUP=lambda _: self._stack.append(self._stack[-1]),
            MEMOIZE=lambda _: self._put(self._next_memo),
            TUPLE1=lambda _: self._tuple(1),
            TUPLE2=lambda _: self._tuple(2),
            TUPLE3=lambda _: self._tuple(3),
            APPEND=lambda _: self._append([self._pop()]),
            SETITEM=lambda _: self._set_items([self._pop(), self._pop()][::-1]),
            SETITEMS=lambda _: self._set_items(self._pop_mark()),
            GLOBAL=self._global,
            STACK_GLOBAL=lambda _: self._stack_global(),
            INST=self._instance,
            OBJ=lambda _: self._object(),
            NEWOBJ_EX=lambda _: self._new_object(),
            BUILD=lambda _: self._build(),
            PERSID=lambda _: self._stack.append(Record()),
            BINPERSID=lambda _: self._persistent(),
        )
        return actions

    def _pop(self) -> object:
        return self._stack.pop()

    def _pop_any(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _mark(self) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[object]:
        values = self._stack
        self._stack = self._outer.pop()
        return values

    def _replace_mark(self, make: Callable[[list[object]], object]) -> None:
        values = self._pop_mark()
        self._stack.append(make(values))

    def _tuple(self, size: int) -> None:
        if len(self._stack) < size:
            raise IndexError
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _put(self, index: object) -> None:
        if not isinstance(index, int) or not 0 <= index < MAX_MEMO_INDEX:
            raise FormatError("a memo index is out of range")
        self._memo[index] = self._stack[-1]
        self._next_memo = len(self._memo)

    def _get(self, index: object) -> None:
        if not isinstance(index, int):
            raise FormatError("a memo index is no number")
        self._stack.append(self._memo[index])

    def _dict(self) -> None:
        values = self._pop_mark()
        self._stack.append(Record())
        self._set_items(values)

    def _append(self, values: list[object]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Record):
            target.items.extend((len(target.items) + index, value) for index, value in enumerate(values))
        else:
            raise FormatError("the pickle appends to what is no list")

    def _set_items(self, values: list[object]) -> None:
        target = self._stack[-1]
        if not isinstance(target, Record):
            raise FormatError("the pickle sets items of what is no dictionary")
        target.items.extend(zip(values[::2], values[1::2], strict=True))

    def _global(self, argument: object) -> None:
        module, _, name = str(argument).partition(" ")
        self._push_global(module, name)

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._push_global(module, name)

    def _push_global(self, module: object, name: object) -> None:
        named = make_global(module, name)
        self._note(named)
        self._stack.append(named)

    def _note(self, named: Global) -> None:
        self.is_lossy = self.is_lossy or named.path in LOSSY_GLOBALS
        if named.path not in ALLOWED_GLOBALS and len(self.unsafe_globals) < MAX_UNSAFE_GLOBALS:
            self.unsafe_globals.add(named.path)

    def _extension(self, code: object) -> None:
        self._push_global("copyreg", f"extension_{code}")

    def _call(self, arguments: object) -> None:
        function = self._pop()
        made = rebuild(function, arguments)
        self._stack.append(Record(states=[arguments]) if made is None else made)

    def _new_object(self) -> None:
        keywords, positional = self._pop(), self._pop()
        self._pop()
        self._stack.append(Record(states=[positional, keywords]))

    def _instance(self, argument: object) -> None:
        values = self._pop_mark()
        self._global(argument)
        self._stack[-1] = Record(states=[tuple(values)])

    def _object(self) -> None:
        values = self._pop_mark()
        self._stack.append(Record(states=[tuple(values[1:])]))

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1]
        if isinstance(target, Record):
            target.states.append(state)

    def _persistent(self) -> None:
        storage = make_storage(self._pop())
        if storage is not None:
            self.storages.setdefault(storage.key, storage)
        self._stack.append(storage or Record())
