"""A reader of layout 1 written from docs/format.md alone: the proof that the page suffices.

It shares no code with mlver on purpose, and is plain rather than fast. Everything that the page says can be checked is
checked. `python tests/golden/reader.py REPOSITORY TARGET` restores every version into `TARGET/NAME/vN`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import posixpath
import re
import struct
import sys
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blake3
import xxhash
import zstandard

MAX_CHUNK = 1 << 24
TENSOR_CUT = 1 << 20
Json = dict[str, Any]


class Damaged(Exception):
    """Something is not as the page says."""


def require(holds: bool, what: object) -> None:
    if not holds:
        raise Damaged(str(what))


# Digests


def hexadecimal(data: bytes) -> str:
    return blake3.blake3(data).hexdigest()


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def file_digest(size: int, chunks: list[bytes]) -> str:
    return "blake3-chunks:" + hexadecimal(b"mlver file 1\0" + struct.pack("<Q", size) + b"".join(chunks))


def blob_id(raw: bytes) -> str:
    return "blake3-blob:" + hexadecimal(b"mlver blob 1\0" + raw)


def tensor_digest(tensor: Json, chunks: list[bytes]) -> str:
    head = canonical({"dtype": tensor["dtype"], "layout": tensor.get("order", "C"), "shape": tensor["shape"]})
    return "blake3-tensor:" + hexadecimal(b"mlver tensor 1\0" + head + b"\0" + b"".join(chunks))


def view_digest(tensor: Json, owner: Json) -> str:
    same = [[each["dtype"], each["shape"], each.get("order", "C"), each["offset"]] for each in (tensor, owner)]
    if same[0] == same[1]:
        return str(owner["digest"])
    view = {
        "dtype": tensor["dtype"],
        "layout": tensor.get("order", "C"),
        "offset": tensor["offset"] - owner["offset"],
        "owner": owner["digest"],
        "shape": tensor["shape"],
    }
    return "blake3-tensor:" + hexadecimal(b"mlver view 1\0" + canonical(view))


# Encodings


def unzstd(frame: bytes, size: int) -> bytes:
    declared = zstandard.get_frame_parameters(frame).content_size
    require(declared == size, f"a zstd frame declares {declared} bytes, not {size}")
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    raw = decompressor.decompress(frame)
    require(decompressor.eof and not decompressor.unused_data and len(raw) == size, "a zstd frame is not one frame")
    return raw


class Bytes:
    """What is left of a payload."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        require(self.at + size <= len(self.data), "a payload is too short")
        self.at += size
        return self.data[self.at - size : self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u32(self) -> int:
        return int(struct.unpack("<I", self.take(4))[0])

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)


def decode(encoding: int, payload: bytes, size: int, seen: Counter[str], base: bytes = b"") -> bytes:
    """Decode a payload; `seen` counts which parts of the page were needed."""
    names = {0: "RAW", 1: "ZSTD", 2: "PLANES", 3: "SPARSE", 16: "DELTA", 17: "LEVELS", 18: "CAST", 19: "GRID"}
    require(encoding in names, f"encoding {encoding} is unknown")
    seen[names[encoding]] += 1
    if encoding == 0:
        return payload
    if encoding == 1:
        return unzstd(payload, size)
    if encoding in (2, 3):
        return (planes if encoding == 2 else sparse)(payload, size, seen)
    return {16: delta, 17: levels, 18: cast, 19: grid}[encoding](Bytes(payload), size, seen, base)


def element_size(first: int) -> tuple[int, bool]:
    require(first & 0x7F in (1, 2, 4, 8), f"a payload begins with {first:#x}")
    return first & 0x7F, first >= 0x80


def planes(payload: bytes, size: int, seen: Counter[str]) -> bytes:
    source = Bytes(payload)
    width, moved = element_size(source.u8())
    require(width > 1 or not moved, "single bytes have no sign to move")
    count, tail = divmod(size, width)
    seen[f"PLANES {width}{' moved' if moved else ''}"] += 1
    loads = [descriptor(source, count, seen) for _ in range(width)]
    found = [bytearray(load()) for load in loads]
    if moved:
        for i, (high, low) in enumerate(zip(found[0], found[1], strict=True)):
            found[0][i] = (low & 0x80) | (high >> 1)
            found[1][i] = (high & 1) << 7 | (low & 0x7F)
    raw = bytearray(size)
    for number, plane in enumerate(found):
        raw[width - 1 - number : count * width : width] = plane
    raw[count * width :] = source.take(tail)
    require(not source.rest(), "a payload is too long")
    return bytes(raw)


def descriptor(source: Bytes, count: int, seen: Counter[str]) -> Any:
    """Read a plane's descriptor and return what reads its stored bytes."""
    method = source.u8()
    require(method <= 3, f"plane method {method} is unknown")
    seen[("plane RAW", "plane ZSTD", "plane CONSTANT", "plane NIBBLES")[method]] += 1
    if method == 0:
        return lambda: source.take(count)
    if method == 1:
        length = source.u32()
        return lambda: unzstd(source.take(length), count)
    if method == 2:
        value = source.u8()
        return lambda: bytes([value]) * count
    start, escapes, length = source.u8(), source.u32(), source.u32()
    return lambda: nibbles(source.take(escapes), unzstd(source.take(length), (count + 1) // 2), start, count)


def nibbles(escapes: bytes, pairs: bytes, start: int, count: int) -> bytes:
    halves = [half for pair in pairs for half in (pair & 15, pair >> 4)]
    require(not any(halves[count:]), "the last high nibble is not zero")
    require(halves[:count].count(15) == len(escapes), "there are not as many escapes as escaped bytes")
    escaped = iter(escapes)
    return bytes(next(escaped) if half == 15 else (start + half) % 256 for half in halves[:count])


def sparse(payload: bytes, size: int, seen: Counter[str]) -> bytes:
    source = Bytes(payload)
    width, apart = element_size(source.u8())
    seen[f"SPARSE{' apart' if apart else ''}"] += 1
    count, tail = divmod(size, width)
    places = bits(source, count)
    signs = bits(source, count) if apart else [False] * count
    inner = planes(source.rest(), sum(places) * width + tail, seen)
    raw = bytearray(size)
    taken = 0
    for i, (place, sign) in enumerate(zip(places, signs, strict=True)):
        if place:
            raw[i * width : (i + 1) * width] = inner[taken : taken + width]
            taken += width
        if sign:
            raw[(i + 1) * width - 1] |= 0x80
    raw[count * width :] = inner[taken:]
    return bytes(raw)


def bits(source: Bytes, count: int) -> list[bool]:
    bitmap = unzstd(source.take(source.u32()), (count + 7) // 8)
    found = [bool(byte >> i & 1) for byte in bitmap for i in range(8)]
    require(not any(found[count:]), "a bitmap has bits after the last element")
    return found[:count]


def integers(data: bytes, width: int) -> list[int]:
    return [value for (value,) in struct.iter_unpack("<" + "BHIQ"[width.bit_length() - 1], data)]


def aligned(base: bytes, size: int) -> bytes:
    return base[:size] + bytes(max(0, size - len(base)))


def unzigzag(value: int) -> int:
    return -(value + 1) // 2 if value & 1 else value // 2


def head(source: Bytes, size: int, seen: Counter[str], base: bytes) -> tuple[int, list[int], list[int]]:
    """Return the size of an element, the elements of the base, and those from which the residuals count."""
    first = source.u8()
    if first & 0x20:
        seen["factors"] += 1
        width = first & ~0x20
        old = integers(aligned(base, size)[: size // width * width], width)
        return width, old, factors(source, width, old, seen)
    width = element_size(first & ~0x40)[0]
    old = integers(aligned(base, size)[: size // width * width], width)
    expected = list(old)
    if first & 0x80:
        seen["table"] += 1
        shift, table = source.u8(), integers(unzstd(source.take(source.u32()), 128 * width), width)
        require(shift < 8 * width, "a table's shift")
        expected = [value + table[value >> shift & 127] for value in old]
    if first & 0x40:
        seen["steps"] += 1
        columns = source.u32()
        shift, mask, unit = struct.unpack("<BHh", source.take(5))
        require(1 <= columns <= len(old) and shift < 8 * width, "a chunk's steps")
        steps = struct.unpack(f"<{columns}h", unzstd(source.take(source.u32()), 2 * columns))
        for i, value in enumerate(old):
            k = min(max(max(1, value >> shift & mask) - unit, 0), 31)
            step = (steps[i % columns] * 2**14 + (2**k >> 1)) // 2**k
            expected[i] += -step if value >> (8 * width - 1) else step
    return width, old, expected


def factors(source: Bytes, width: int, old: list[int], seen: Counter[str]) -> list[int]:
    """Return the elements that factors let one expect."""
    kind, columns, column, rank, exponent, size = struct.unpack("<BIIBhI", source.take(16))
    require((kind, width) in ((0, 4), (1, 2)) and -1000 <= exponent <= 100, "a chunk's factors")
    require(column < columns <= len(old) and 1 <= rank <= 64, "a chunk's factors")
    rows = (column + len(old) + columns - 1) // columns
    require(rank * (rows + columns) <= len(old), "a chunk's factors")
    payload = source.take(size)
    require(payload[0] == 4, "factors of another size")
    found = [unzigzag(value) for value in integers(planes(payload, 4 * rank * (rows + columns), seen), 4)]
    require(max(map(abs, found)) <= 2**23, "a chunk's factors")
    of_rows = [found[rows * r : rows * (r + 1)] for r in range(rank)]
    of_columns = [found[rows * rank :][columns * r : columns * (r + 1)] for r in range(rank)]
    expected = []
    for i, value in enumerate(old):
        row, at = divmod(column + i, columns)
        product = sum(of_rows[r][row] * of_columns[r][at] for r in range(rank))
        expected.append(moved(value, width, product * 2.0**exponent))
    return expected


def moved(value: int, width: int, added: float) -> int:
    """Return the element that is expected where `added` was added to `value`."""
    bits = value << (32 - 8 * width)
    if bits >> 23 & 255 == 255:
        return value
    number = struct.unpack("<f", struct.pack("<I", bits))[0] if bits >> 23 & 255 else 0.0
    total = number + added
    if abs(total) < 2.0**-126:
        return 0
    try:
        bits = struct.unpack("<I", struct.pack("<f", total))[0]
    except OverflowError:
        bits = 0xFF800000 if total < 0 else 0x7F800000
    return bits if width == 4 else bits + 0x7FFF + (bits >> 16 & 1) >> 16


def delta(source: Bytes, size: int, seen: Counter[str], base: bytes) -> bytes:
    width, _, expected = head(source, size, seen, base)
    return undone(source, width, size, seen, expected)


def undone(source: Bytes, width: int, size: int, seen: Counter[str], expected: list[int]) -> bytes:
    """Read residuals as planes, up to the end, and undo them."""
    payload = source.rest()
    require(payload[:1] == bytes([width]), "residuals of another size")
    raw = planes(payload, size, seen)
    whole = len(expected) * width
    return written(width, integers(raw[:whole], width), expected) + raw[whole:]


def written(width: int, residuals: list[int], expected: list[int]) -> bytes:
    values = (start + unzigzag(residual) for start, residual in zip(expected, residuals, strict=True))
    return b"".join((value % 256**width).to_bytes(width, "little") for value in values)


def levels(source: Bytes, size: int, seen: Counter[str], base: bytes) -> bytes:
    width, old, expected = head(source, size, seen, base)
    shift, mask, origin, uncut, limit = struct.unpack("<BHhBB", source.take(7))
    require(shift < 8 * width and uncut <= 64 and limit <= 64, "a chunk's classes")
    of_block = unzstd(source.take(source.u32()), -(-len(old) // 128))
    coded_count, escape_count, low_bytes = source.u32(), source.u32(), source.u32()
    measured = [i for i in range(len(old)) if of_block[i // 128]]
    classes = [min(max(origin + of_block[i // 128] - (old[i] >> shift & mask), 0), 63) for i in measured]
    in_plane = sum(number >= limit for number in classes)
    require(len(classes) - in_plane == coded_count, "the number of coded elements")
    plane = iter(descriptor(source, in_plane, seen)())
    coded = iter(symbols(source, [number for number in classes if number < limit], seen) if coded_count else [])
    low, low_at = int.from_bytes(source.take(low_bytes), "little"), 0
    escapes = iter(plain(source, width, escape_count, seen) if escape_count else [])
    residuals = [0] * len(old)
    for i, number in zip(measured, classes, strict=True):
        upper, most = (next(coded), 63) if number < limit else (next(plane), 255)
        if upper == most:
            seen["escape"] += 1
            upper = next(escapes, -1)
            require(upper >= 0, "an escape is missing")
        cut = min(max(number - uncut, 0), {1: 6, 2: 12, 4: 24, 8: 56}[width])
        seen["low bits"] += cut > 0
        residuals[i] = (upper << cut | low >> low_at & ((1 << cut) - 1)) % 256**width
        low_at += cut
    require(next(escapes, None) is None, "there are escapes for nothing")
    require(0 <= 8 * low_bytes - low_at < 8 and not low >> low_at, "the low bits are not as many as they must be")
    tail = source.rest()
    require(len(tail) == size - width * len(old), "a payload does not end with the tail")
    return written(width, residuals, expected) + tail


RATIOS = [
    2105376,
    2505587,
    2982296,
    3550299,
    4227329,
    5034671,
    5997908,
    7147862,
    8521752,
    10164648,
    12131315,
    14488561,
    17318269,
    20721354,
    24822998,
    29779665,
    35788655,
    43101326,
    52041685,
    63032964,
    76636137,
    93606159,
    114973549,
    142157697,
    177102339,
    222354954,
    280807034,
    354493847,
    442293456,
    538676327,
    635734317,
    726241901,
    805352683,
    870954883,
    923147008,
    963374119,
    993651337,
    1016044113,
    1032395669,
    1044226294,
    1052729500,
    1058812301,
    1063149017,
    1066233466,
]


def grid(source: Bytes, size: int, seen: Counter[str], base: bytes) -> bytes:
    width, _, expected = head(source, size, seen, base)
    mantissa, origin, columns = struct.unpack("<BhI", source.take(7))
    require(width <= 4 and 1 <= mantissa <= 8 * width - 2 and columns <= len(expected), "a chunk's grid")
    seen["offsets"] += columns > 0
    offsets = struct.unpack(f"<{columns}b", unzstd(source.take(source.u32()), columns)) if columns else (0,)
    of_block = unzstd(source.take(source.u32()), -(-len(expected) // 128))
    depth_count, escape_count, low_bytes = source.u32(), source.u32(), source.u32()
    one, sign = 1 << mantissa, 1 << (8 * width - 1)
    expected = [value % (2 * sign) for value in expected]
    measured = [i for i in range(len(expected)) if of_block[i // 128]]
    steps = [origin + of_block[i // 128] + offsets[i % len(offsets)] for i in measured]
    steps = [min(max(step, 4), 4 * (sign // one - 1) + 3) for step in steps]
    first = [max(1, expected[i] % sign // one) for i in measured]
    classes = [max(0, step - 4 * max(step // 4, f) + 40) for step, f in zip(steps, first, strict=True)]
    require(depth_count <= len(measured), "the number of depths")
    found = symbols(source, classes + [44] * depth_count, seen, RATIOS) if measured else []
    require(bool(measured) or not depth_count, "depths of nothing")
    depths = iter(found[len(measured) :])
    low, low_at = int.from_bytes(source.take(low_bytes), "little"), 0
    escapes = iter(plain(source, width, escape_count, seen) if escape_count else [])

    def bits(count: int) -> int:
        nonlocal low_at
        low_at += count
        return low >> low_at - count & (1 << count) - 1

    elements = list(expected)
    for i, step, symbol in zip(measured, steps, found, strict=False):
        k = step // 4
        place = (place_of(expected[i], k, mantissa, sign) + unzigzag(symbol)) % (2 * sign)
        place -= 2 * sign * (place >= sign)
        depth = next(depths, -1) if symbol < 63 and not place else 0
        require(depth >= 0, "a depth is missing")
        if symbol == 63 or depth == 63:
            seen["escape"] += 1
            elements[i] = next(escapes, -1)
            require(elements[i] >= 0, "an escape is missing")
        elif not place:
            seen["depth"] += 1
            f = k - mantissa - 1 - depth
            require(f >= 1, "a depth below all exponents")
            elements[i] = f * one | bits(mantissa) | sign * bits(1)
        else:
            missing = min(max(mantissa + 1 - abs(place).bit_length(), 0), k - 1)
            seen["low bits"] += missing > 0
            magnitude = (abs(place) << missing | bits(missing)) + (k - 1 - missing) * one
            elements[i] = magnitude % sign | sign * (place < 0)
    require(next(escapes, None) is None and next(depths, None) is None, "there are escapes or depths for nothing")
    require(0 <= 8 * low_bytes - low_at < 8 and not low >> low_at, "the low bits are not as many as they must be")
    tail = source.rest()
    require(len(tail) == size - width * len(expected), "a payload does not end with the tail")
    return b"".join(element.to_bytes(width, "little") for element in elements) + tail


def place_of(element: int, k: int, mantissa: int, sign: int) -> int:
    p, one = element % sign, 1 << mantissa
    f = max(1, p // one)
    place = p - (k - 1) * one if f >= k else (p % one | one * (p >= one)) >> (k - f)
    return -place if element >= sign else place


def known(ratios: list[int]) -> list[list[tuple[int, int, int]]]:
    """Return the slots of the tables that are known."""
    tables = []
    for number in range(64):
        weights = [2 ** (64 - symbol) for symbol in range(64)]
        if number < len(ratios):
            weight, q, h = 2**30, ratios[number], ratios[number] ** 2 // 2**30
            weights = [weight]
            for _ in range(32):
                weight, q = weight * q // 2**30, q * h // 2**30
                weights += [weight, weight]
        shares = [max(1, (8192 * weight + sum(weights[:64])) // (2 * sum(weights[:64]))) for weight in weights[:64]]
        shares[0] = 4096 - sum(shares[1:])
        table: list[tuple[int, int, int]] = []
        for symbol, share in enumerate(shares):
            table += [(symbol, share, len(table))] * share
        tables.append(table)
    return tables


def plain(source: Bytes, width: int, count: int, seen: Counter[str]) -> list[int]:
    """Read elements as planes with something behind them."""
    require(source.u8() == width, "escapes of another size")
    loads = [descriptor(source, count, seen) for _ in range(width)]
    return [int.from_bytes(element, "big") for element in zip(*(load() for load in loads), strict=True)]


def symbols(source: Bytes, classes: list[int], seen: Counter[str], ratios: list[int] | None = None) -> list[int]:
    seen["symbols"] += 1
    count = source.u8()
    require((ratios is None) <= count <= 64, "the number of classes")
    if ratios is not None and not count:
        seen["known tables"] += 1
        tables, count = known(ratios), 64
    else:
        sizes = source.take(count)
        shares = Bytes(source.take(int(struct.unpack("<H", source.take(2))[0])))
        tables = [slots(shares, size) for size in sizes]
        require(not shares.rest(), "there are shares for nothing")
    (lanes,) = struct.unpack("<H", source.take(2))
    require(1 <= lanes <= 256, "the number of lanes")
    states = list(struct.unpack(f"<{lanes}I", source.take(4 * lanes)))
    words = iter(integers(source.take(2 * source.u32()), 2))
    found = []
    for i, number in enumerate(classes):
        state = states[i % lanes]
        symbol, share, below = tables[min(number, count - 1)][state % 4096]
        state = share * (state // 4096) + state % 4096 - below
        if state < 2**16:
            word = next(words, -1)
            require(word >= 0, "a word is missing")
            state = state * 2**16 + word
        states[i % lanes] = state
        found.append(symbol)
    require(set(states) == {2**16} and next(words, None) is None, "symbols do not end as they must")
    return found


def slots(source: Bytes, size: int) -> list[tuple[int, int, int]]:
    """Return the symbol of each of 4096 slots, with its share and the sum of those below."""
    require(size <= 64, "the number of shares")
    found: list[tuple[int, int, int]] = []
    for symbol in range(size):
        share = source.u8()
        if share >= 128:
            above = source.u8()
            require(above < 128, "a share")
            share += 128 * (above - 1)
        found += [(symbol, share, len(found))] * share
    require(len(found) in (0, 4096), "shares do not add up")
    return found or [(0, 4096, 0)] * 4096


CASTS = [
    ("F32", "BF16"),
    ("F32", "BF16"),
    ("BF16", "F32"),
    ("F32", "F16"),
    ("F16", "F32"),
    ("F64", "F32"),
    ("F32", "F64"),
]
FLOATS = {"F16": ("<e", 2, 0x7E00), "F32": ("<f", 4, 0x7FC00000), "F64": ("<d", 8, 0x7FF8 << 48), "BF16": ("", 2, 0)}


def cast(source: Bytes, size: int, seen: Counter[str], base: bytes) -> bytes:
    number, skipped = source.u8(), source.u32()
    require(number < len(CASTS), f"cast {number} is unknown")
    seen[f"cast {number}"] += 1
    start, end = CASTS[number]
    width = FLOATS[end][1]
    room = size // width * FLOATS[start][1]
    old = integers(aligned(base[skipped:], room), FLOATS[start][1])
    return undone(source, width, size, seen, [predicted(number, value) for value in old])


def predicted(number: int, value: int) -> int:
    if number == 0:
        return 0x7FC0 if value & 0x7FFFFFFF > 0x7F800000 else (value + 0x7FFF + (value >> 16 & 1)) >> 16 & 0xFFFF
    if number in (1, 2):
        return value >> 16 if number == 1 else value << 16
    (pattern, width, _), (wanted, _, nan) = (FLOATS[name] for name in CASTS[number])
    (real,) = struct.unpack(pattern, value.to_bytes(width, "little"))
    if real != real:
        return nan
    try:
        return int.from_bytes(struct.pack(wanted, real), "little")
    except OverflowError:
        return int.from_bytes(struct.pack(wanted, math.copysign(math.inf, real)), "little")


# Packs


@dataclass(frozen=True)
class Place:
    """Where a chunk is."""

    pack: Path
    offset: int
    length: int
    head: tuple[int, int, bytes]
    bases: tuple[bytes, ...]
    checksum: int


def pack_places(path: Path) -> Iterator[tuple[bytes, Place]]:
    data = path.read_bytes()
    require(len(data) >= 64, "a pack is too short")
    start, count, version, identity = struct.unpack_from("<QII32s", data, len(data) - 64)
    (checksum,) = struct.unpack_from("<Q", data, len(data) - 16)
    require(data.endswith(b"\x89MLVPACK") and version in (1, 2), f"{path.name} does not end as a pack")
    require(xxhash.xxh3_64_intdigest(data[-64:-16]) == checksum, "the trailer's checksum")
    size = 60 + 32 * version
    require(1 <= count <= 1 << 20 and start + size * count + 64 == len(data), "the trailer's numbers")
    index = data[start : start + size * count]
    require(hexadecimal(index) == identity.hex() == path.name.partition(".")[0], f"{path.name} has another id")
    end = 0
    for fields in struct.iter_unpack(f"<32s{32 * version}sQQIIB3s", index):
        chunk, room, offset, frame_sum, length, raw_size, encoding, zero = fields
        bases = tuple(room[at : at + 32] for at in range(0, len(room), 32) if room[at : at + 32] != bytes(32))
        require(b"".join(bases) == room[: 32 * len(bases)] and chunk not in bases, "the bases of an index entry")
        require(offset == end and zero == bytes(3) and raw_size <= MAX_CHUNK, "an index entry")
        yield chunk, Place(path, offset, length, (raw_size, encoding, chunk), bases, frame_sum)
        end = offset + length
    require(end == start, "frames do not fill the pack")


def read_frame(place: Place) -> bytes:
    """Return a frame's payload."""
    with place.pack.open("rb") as file:
        file.seek(place.offset)
        frame = file.read(place.length)
    magic, payload_size, raw_size, encoding, count, zero, chunk = struct.unpack_from("<4sIIBBH32s", frame)
    require(magic == b"\x89ML1" and count <= 2 and zero == 0 and payload_size <= MAX_CHUNK, "a frame's header")
    end = 48 + 32 * count
    bases = tuple(frame[at : at + 32] for at in range(48, end, 32))
    (checksum,) = struct.unpack_from("<Q", frame, end)
    payload = frame[end + 8 :]
    require(xxhash.xxh3_64_intdigest(frame[:end] + payload) == checksum == place.checksum, "a frame's checksum")
    require(len(payload) == payload_size, "a frame's length")
    require(((raw_size, encoding, chunk), bases) == (place.head, place.bases), "a frame is not what the index says")
    return payload


# Paths


DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)
FORBIDDEN = re.compile('[<>:"|?*\\\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]')


def check_path(path: str) -> None:
    require(0 < len(path.encode()) <= 4096 and path.count("/") < 256, f"path {path!r}")
    for part in path.split("/"):
        require(part not in ("", ".", "..") and len(part.encode()) <= 255, f"path {path!r}")
        require(FORBIDDEN.search(part) is None and part[-1] not in ". ", f"path {path!r}")
        require(DEVICES.fullmatch(part.partition(".")[0].rstrip(" ")) is None, f"path {path!r}")


def check_collisions(paths: list[str]) -> None:
    folded: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts) + 1):
            part = "/".join(parts[:end])
            key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())
            require(folded.setdefault(key, part) == part, f"{part!r} and {folded[key]!r} are one path")


# History


@dataclass
class Version:
    """One version, as its log tells."""

    number: int
    manifest: str
    said: Json
    at: str
    by: str
    tags: set[str]
    metadata: Json
    metrics: Json
    note: str | None = None
    removed: bool = False
    signatures: dict[str, str] = field(default_factory=dict)


@dataclass
class Artifact:
    """One artifact, as the logs tell."""

    name: str
    folder: str
    type: str
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    tracked: dict[str, str] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    former_names: list[str] = field(default_factory=list)

    @property
    def latest(self) -> int | None:
        return max((v.number for v in self.versions.values() if not v.removed), default=None)


@dataclass
class Run:
    """One run, as the log of runs tells."""

    id: str
    said: Json
    at: str
    by: str
    name: str | None
    job_type: str | None
    config: Json
    uses: list[Json] = field(default_factory=list)
    made_again: list[Json] = field(default_factory=list)
    end: Json | None = None

    @property
    def blobs(self) -> list[str]:
        named = [self.said["record"], *self.said.get("blobs", ())]
        if self.end is not None:
            named += [self.end.get("series"), self.end.get("output")]
        return [blob for blob in named if blob is not None]


FIELDS: dict[str, set[str]] = {
    "create": {"artifact", "type"},
    "rename": {"artifact", "to"},
    "type": {"artifact", "to", "was"},
    "add": {
        *("version", "manifest", "logical_bytes", "new_bytes", "stored_bytes", "file_count", "tensor_count"),
        *("weights", "message", "tags", "metadata", "metrics", "provenance", "reference_count", "reference_bytes"),
    },
    "alias": {"alias", "to", "was"},
    "track": {"alias", "to", "was"},
    "protect": {"alias", "protected"},
    "tag": {"version", "tag", "present"},
    "note": {"version", "to", "was"},
    "set": {"version", "field", "key", "to", "was"},
    "remove": {"version", "removed"},
    "sign": {"version", "key", "signature", "statement", "present"},
}
RUN_FIELDS: dict[str, set[str]] = {
    "start": {"run", "name", "job_type", "config", "record", "blobs", "code"},
    "use": {"run", "artifact", "version", "manifest", "role"},
    "config": {"run", "values", "name", "job_type"},
    "made": {"run", "artifact", "version", "manifest"},
    "finish": {"run", "status", "exit_code", "duration_seconds", "metrics", "series", "output"},
}
RUN_NEEDED = {
    "start": {"run", "name", "job_type", "config", "record"},
    "use": {"run", "artifact", "version", "manifest"},
    "config": {"run", "values"},
    "made": {"run", "artifact", "version", "manifest"},
    "finish": {"run", "status", "exit_code", "duration_seconds"},
}
BLOB = re.compile("blake3-blob:[0-9a-f]{64}")
OPTIONAL = {"weights", "message", "tags", "metadata", "metrics", "provenance", "reference_count", "reference_bytes"}


def is_name(text: str) -> bool:
    return re.fullmatch(r"[a-zA-Z0-9_.][a-zA-Z0-9_\-.]{0,127}", text) is not None and not re.fullmatch(
        "[vV][0-9]+", text
    )


def parse_event(data: bytes, number: int) -> Json:
    line, _, rest = data.partition(b"\n")
    require(rest == b"blake3:" + hexadecimal(line).encode() + b"\n", f"event {number} is damaged")
    event: Json = json.loads(line)
    require(canonical(event) == line, f"event {number} is not canonical")
    known = {"mlver_event", "number", "write_id", "at", "by", "actions"}
    require(event.keys() - {"undoes"} == known, f"event {number} has other fields")
    require((event["mlver_event"], event["number"]) == (1, number), f"event {number} is of another format or number")
    require(re.fullmatch("[0-9a-f]{32}", event["write_id"]) is not None, "a write id")
    require(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["at"]) is not None, "a time")
    for action in event["actions"]:
        if action["do"] in RUN_FIELDS:
            check_run_action(action)
            continue
        fields, given = FIELDS.get(action["do"]), action.keys() - {"do"}
        require(fields is not None and fields - OPTIONAL <= given <= fields, f"a {action['do']!r} action")
        require(0 not in (action.get("reference_count"), action.get("reference_bytes")), "a count that is zero")
        if action["do"] in ("create", "rename", "type"):
            require(all(map(is_name, (action["artifact"], action.get("to", "x")))), "an artifact's name or type")
    return event


def check_run_action(action: Json) -> None:
    do, given = action["do"], action.keys() - {"do"}
    require(RUN_NEEDED[do] <= given <= RUN_FIELDS[do], f"a {do!r} action")
    require(re.fullmatch("[0-9a-f]{16}", action["run"]) is not None, "the id of a run")
    for blob in (action.get("record"), action.get("series"), action.get("output"), *action.get("blobs", ())):
        require(blob is None or BLOB.fullmatch(blob) is not None, "the id of a blob")
    if do == "finish":
        require(action["status"] in ("finished", "failed", "killed", "lost"), "the status of a run")
        for summary in action.get("metrics", {}).values():
            require(summary.keys() == {"count", "last", "max", "min", "nan"}, "a summary of a metric")


def read_log(folder: Path) -> Iterator[Json]:
    """Yield all events of a log, after comparing its segments with them."""
    names = sorted(p.name for p in folder.glob("*") if re.fullmatch(r"\d{12}\.json", p.name))
    require(names == [f"{n:012}.json" for n in range(len(names))], f"{folder.name} has a gap")
    files = [(folder / name).read_bytes() for name in names]
    for segment in folder.glob("*.segment"):
        first = int(segment.name[:12])
        require(segment.name == f"{first:012}-{first + 255:012}.segment" and first % 256 == 0, segment.name)
        data = segment.read_bytes()
        raw = unzstd(data, zstandard.get_frame_parameters(data).content_size)
        require(raw == b"".join(files[first : first + 256]) and len(files) >= first + 256, f"{segment.name} differs")
    for number, data in enumerate(files):
        yield parse_event(data, number)


def fold_names(events: Iterator[Json]) -> list[Artifact]:
    artifacts: list[Artifact] = []
    for event in events:
        for action in event["actions"]:
            name = action["artifact"]
            if action["do"] == "create":
                if all(name not in (artifact.name, artifact.folder) for artifact in artifacts):
                    artifacts.append(Artifact(name, name, action["type"]))
                continue
            (artifact,) = (artifact for artifact in artifacts if artifact.name == name)
            if action["do"] == "type":
                artifact.type = action["to"]
                continue
            for other in artifacts:
                other.former_names = [former for former in other.former_names if former not in (name, action["to"])]
            artifact.name = action["to"]
            artifact.former_names.append(name)
    return artifacts


def fold(artifact: Artifact, events: Iterator[Json]) -> None:
    for event in events:
        for action in event["actions"]:
            apply(artifact, event, action)
            for alias, rule in artifact.tracked.items():
                artifact.aliases.pop(alias, None)
                number = best(artifact, rule)
                if number is not None:
                    artifact.aliases[alias] = number


def fold_runs(events: Iterator[Json]) -> dict[str, Run]:
    runs: dict[str, Run] = {}
    for event in events:
        for action in event["actions"]:
            require(action["do"] in RUN_FIELDS, f"{action['do']!r} is in the wrong log")
            if action["do"] == "start":
                said = (action["name"], action["job_type"], dict(action["config"]))
                runs.setdefault(action["run"], Run(action["run"], action, event["at"], event["by"], *said))
            elif action["run"] in runs:
                tell(runs[action["run"]], action)
    return runs


def tell(run: Run, action: Json) -> None:
    if action["do"] == "use":
        run.uses.append(action)
    elif action["do"] == "made":
        run.made_again.append(action)
    elif action["do"] == "finish":
        run.end = action
    else:
        run.config |= action["values"]
        run.name = run.name if action.get("name") is None else action["name"]
        run.job_type = run.job_type if action.get("job_type") is None else action["job_type"]


def best(artifact: Artifact, rule: str) -> int | None:
    """Return the number of the version that a rule names, if there is one."""
    match = re.fullmatch(r"(max|min)\((.+)\)", rule, re.DOTALL)
    require(match is not None, f"the rule {rule!r}")
    assert match is not None
    offers = []
    for version in artifact.versions.values():
        value = version.metrics.get(match[2])
        if not version.removed and isinstance(value, int | float) and math.isfinite(value):
            offers.append((-value if match[1] == "max" else value, version.number))
    return min(offers)[1] if offers else None


def apply(artifact: Artifact, event: Json, action: Json) -> None:
    if action["do"] == "add":
        number = action["version"]
        require(number not in artifact.versions, f"v{number} is added twice")
        artifact.versions[number] = Version(
            number,
            action["manifest"],
            action,
            event["at"],
            event["by"],
            set(action.get("tags", ())),
            dict(action.get("metadata", {})),
            dict(action.get("metrics", {})),
        )
    elif action["do"] == "alias":
        if action["alias"] in artifact.tracked:
            return
        require(artifact.aliases.get(action["alias"]) == action["was"], "an alias was elsewhere")
        artifact.aliases.pop(action["alias"], None)
        if action["to"] is not None:
            artifact.aliases[action["alias"]] = action["to"]
    elif action["do"] == "track":
        require(artifact.tracked.pop(action["alias"], None) == action["was"], "an alias followed something else")
        artifact.aliases.pop(action["alias"], None)
        if action["to"] is not None:
            artifact.tracked[action["alias"]] = action["to"]
    elif action["do"] == "protect":
        (artifact.protected.add if action["protected"] else artifact.protected.discard)(action["alias"])
    else:
        change(artifact.versions[action["version"]], action)


def change(version: Version, action: Json) -> None:
    if action["do"] == "tag":
        (version.tags.add if action["present"] else version.tags.discard)(action["tag"])
    elif action["do"] == "note":
        require(version.note == action["was"], "a note was another")
        version.note = action["to"]
    elif action["do"] == "set":
        values = {"metadata": version.metadata, "metrics": version.metrics}[action["field"]]
        was = [values.pop(action["key"])] if action["key"] in values else []
        require(was == action["was"], "a value was another")
        for value in action["to"]:
            values[action["key"]] = value
    elif action["do"] == "sign":
        version.signatures.pop(action["signature"], None)
        if action["present"]:
            version.signatures[action["signature"]] = action["statement"]
    else:
        require(action["do"] == "remove", f"{action['do']!r} is in the wrong log")
        version.removed = action["removed"]


# Signatures

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
Point = tuple[int, int] | None


def added(a: Point, b: Point) -> Point:
    """The sum of two points of P-256."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] ** 2 - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope**2 - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(factor: int, point: Point) -> Point:
    total: Point = None
    for bit in bin(factor)[2:]:
        total = added(total, total)
        total = added(total, point) if bit == "1" else total
    return total


def public_point(pem: str) -> Point:
    """The key in a PEM file: the last 65 bytes of its DER are 4, x and y."""
    der = base64.b64decode("".join(pem.strip().splitlines()[1:-1]))
    x, y = int.from_bytes(der[-64:-32], "big"), int.from_bytes(der[-32:], "big")
    require(der[-65] == 4 and (y * y - x**3 + 3 * x - B) % P == 0, "a key of P-256")
    return x, y


def is_signed_by(pem: str, signature: str, statement: str) -> bool:
    """ECDSA with SHA-256 over DSSE's encoding of a statement; r and s are two integers of DER."""
    der = base64.b64decode(signature, validate=True)
    r_size = der[3]
    r, s = int.from_bytes(der[4 : 4 + r_size], "big"), int.from_bytes(der[6 + r_size :], "big")
    require(der[0] == 0x30 and der[1] == len(der) - 2 and 0 < r < ORDER and 0 < s < ORDER, "a signature")
    payload = statement.encode()
    kind = "application/vnd.in-toto+json"
    message = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    inverse = pow(s, -1, ORDER)
    found = added(times(digest * inverse % ORDER, BASE), times(r * inverse % ORDER, public_point(pem)))
    return found is not None and found[0] % ORDER == r


def check_statement(text: str, artifact: Artifact, version: Version, files: dict[str, bytes]) -> None:
    """Refuse a statement that is about something else than this version, with these contents of its files."""
    statement: Json = json.loads(text)
    require(canonical(statement) == text.encode(), "a statement is not canonical")
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())}
    resources = [{"algorithm": "sha256", "digest": digest, "name": path} for path, digest in digests.items()]
    root = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    record = {
        "at": version.at,
        "by": version.by,
        "message": version.said.get("message"),
        "metadata": version.metadata,
        "metrics": version.metrics,
        "provenance": version.said.get("provenance", {}),
        "type": artifact.type,
    }
    subject = {
        "artifact": artifact.name,
        "id": version.manifest,
        "record": "blake3:" + hexadecimal(canonical(record)),
        "version": version.number,
    }
    predicate = statement["predicate"]
    require(
        predicate["mlver"] == subject and predicate["resources"] == resources, "a statement is about something else"
    )
    require(statement["subject"] == [{"digest": {"sha256": root}, "name": artifact.name}], "a statement's subject")


# Manifests


def read_manifest(path: Path, identity: str) -> Json:
    data = path.read_bytes()
    size = zstandard.get_frame_parameters(data).content_size
    require(0 < size <= 1 << 30, "a manifest's size")
    raw = unzstd(data, size)
    require("blake3:" + hexadecimal(raw) == identity, f"manifest {identity} has another digest")
    manifest: Json = json.loads(raw)
    require(canonical(manifest) == raw, "a manifest is not canonical")
    needed = {"mlver_manifest", "files", "folders", "tensors", "weights"}
    require(needed <= manifest.keys() <= needed | {"references"}, "a manifest's fields")
    require(manifest["mlver_manifest"] == 1, "a manifest's format")
    check_files(manifest)
    check_tensors(manifest)
    return manifest


def check_files(manifest: Json) -> None:
    files, folders = manifest["files"], manifest["folders"]
    paths = [file["path"] for file in files]
    require(paths == sorted(set(paths)) and folders == sorted(set(folders)), "paths are not in order")
    references = manifest.get("references", [])
    pointers = [reference["path"] for reference in references]
    require("references" not in manifest or pointers == sorted(pointers) != [], "references are not in order")
    require(len({*paths, *folders, *pointers}) == len(paths + folders + pointers), "a path is listed twice")
    for path in paths + folders + pointers:
        check_path(path)
    for reference in references:
        check_reference(reference)
    for file in files:
        needed = {"path", "size", "digest", "chunks", "lengths"}
        require(needed <= file.keys() <= needed | {"executable", "format", "unsafe_globals"}, "a file's fields")
        require(file.get("executable", True) is True and file.get("format", "x") is not None, "a needless field")
        require(all(0 < length <= MAX_CHUNK for length in file["lengths"]), "a chunk's length")
        require(len(file["chunks"]) == len(file["lengths"]) and sum(file["lengths"]) == file["size"], "a file's size")
        digest = file_digest(file["size"], [bytes.fromhex(chunk) for chunk in file["chunks"]])
        require(digest == file["digest"], f"the digest of {file['path']}")


def check_reference(reference: Json) -> None:
    marks = reference.keys() - {"path", "uri", "size"}
    require(bool(marks) and marks <= {"etag", "version", "digest"} and reference["size"] >= 0, "a reference's fields")
    require(all(0 < len(reference[mark]) <= 1024 for mark in marks), "what identifies a reference")
    require(re.fullmatch("blake3:[0-9a-f]{64}", reference.get("digest", "blake3:" + "0" * 64)) is not None, "a digest")
    uri, (scheme, _, rest) = reference["uri"], reference["uri"].partition("://")
    require(re.fullmatch("[a-z][a-z0-9+.-]*", scheme) is not None and "@" not in re.split("[/?#]", rest)[0], "a URI")
    require(len(uri.encode()) <= 8192 and re.search("[\x00-\x1f\x7f-\x9f]", uri) is None, "a URI")


def check_tensors(manifest: Json) -> None:
    tensors = manifest["tensors"]
    order = [(tensor["file"], tensor["offset"], tensor["name"]) for tensor in tensors]
    require(order == sorted(order), "tensors are not in order")
    owners = [tensor for tensor in tensors if owns(tensor, manifest["files"][tensor["file"]])]
    for tensor in tensors:
        needed = {"name", "dtype", "shape", "digest", "file", "offset", "size"}
        require(needed <= tensor.keys() <= needed | {"order", "anonymous"}, "a tensor's fields")
        require(tensor["offset"] + tensor["size"] <= manifest["files"][tensor["file"]]["size"], "a tensor's place")
        require(min([tensor["offset"], tensor["size"], *tensor["shape"]]) >= 0, "a tensor's numbers")
        if tensor.get("order", "C") != "C":
            require(re.fullmatch(r"F|strides:\d+(,\d+)*", tensor["order"]) is not None, "an order")
        require(
            any(tensor is owner or is_view(tensor, owner) for owner in owners), f"the digest of tensor {tensor['name']}"
        )
    require(manifest["weights"] == weights_digest(manifest), "the weights digest")


def owns(tensor: Json, file: Json) -> bool:
    """Tell whether a tensor's digest is that of its own chunks."""
    starts = [sum(file["lengths"][:n]) for n in range(len(file["lengths"]))]
    count = math.ceil(tensor["size"] / TENSOR_CUT)
    if count and tensor["offset"] not in starts:
        return False
    first = starts.index(tensor["offset"]) if count else 0
    lengths = file["lengths"][first : first + count]
    cut = [min(TENSOR_CUT, tensor["size"] - n * TENSOR_CUT) for n in range(count)]
    chunks = [bytes.fromhex(chunk) for chunk in file["chunks"][first : first + count]]
    return bool(lengths == cut and tensor_digest(tensor, chunks) == tensor["digest"])


def is_view(tensor: Json, owner: Json) -> bool:
    inside = owner["offset"] <= tensor["offset"]
    inside &= tensor["offset"] + tensor["size"] <= owner["offset"] + owner["size"]
    return bool(inside and tensor["file"] == owner["file"] and view_digest(tensor, owner) == tensor["digest"])


def weights_digest(manifest: Json) -> str | None:
    files, tensors = manifest["files"], manifest["tensors"]
    opaque = [file for file in files if file.get("format") == "opaque"]
    home_of = [posixpath.dirname(file["path"]) for file in files]
    homes = [home_of[tensor["file"]] for tensor in tensors] + [posixpath.dirname(file["path"]) for file in opaque]
    if not homes:
        return None
    split = [home.split("/") if home else [] for home in homes]
    common: list[str] = []
    while all(len(parts) > len(common) for parts in split) and len({parts[len(common)] for parts in split}) == 1:
        common.append(split[0][len(common)])

    def relative(path: str) -> str:
        return "/".join((path.split("/") if path else [])[len(common) :]) or "."

    times = Counter((home_of[tensor["file"]], tensor["name"]) for tensor in tensors)
    pairs = [["opaque\0" + relative(file["path"]), file["digest"]] for file in opaque]
    for tensor in tensors:
        home = home_of[tensor["file"]]
        place = home if times[home, tensor["name"]] == 1 else files[tensor["file"]]["path"]
        pairs.append(["tensor\0" + relative(place) + "\0" + tensor["name"], tensor["digest"]])
    return "blake3-weights:" + hexadecimal(b"mlver weights 1\0" + canonical(sorted(pairs)))


# A repository


ASIDE = "*." + "[0-9a-f]" * 16 + ".aside"


class Repository:
    """A repository, read whole. Raises `Damaged` for whatever is not as the page says."""

    def __init__(self, root: Path) -> None:
        self.root = root
        require((root / "format").read_bytes() == b"mlver 1\n", "the layout is unknown")
        self.needed: Counter[str] = Counter()
        self.places: dict[bytes, list[Place]] = {}
        for pack in sorted([*(root / "packs").glob("*.pack"), *(root / "packs").glob(ASIDE)]):
            for chunk, place in pack_places(pack):
                self.places.setdefault(chunk, []).append(place)
        self.artifacts = fold_names(read_log(root / "names"))
        for artifact in self.artifacts:
            fold(artifact, read_log(root / "log" / artifact.folder))
        self.runs = fold_runs(read_log(root / "runs" / "log"))

    @property
    def current(self) -> str | None:
        head = self.root / "HEAD"
        return head.read_text("utf-8").removesuffix("\n") if head.exists() else None

    @property
    def identity(self) -> str:
        config = self.root / "config.toml"
        return str(tomllib.loads(config.read_text("utf-8"))["identity"]["name"]) if config.exists() else ""

    def has(self, version: Version) -> bool:
        """Tell whether the manifest of a version is there: that of a removed one may be gone."""
        return any((self.root / "manifests").glob(version.manifest.removeprefix("blake3:") + ".*"))

    def blob(self, identity: str) -> bytes:
        """Return what an event names besides."""
        data = (self.root / "runs" / "blobs" / f"{identity.removeprefix('blake3-blob:')}.zst").read_bytes()
        size = zstandard.get_frame_parameters(data).content_size
        require(size <= 256 << 20, "a blob is too large")
        raw = unzstd(data, size)
        require(blob_id(raw) == identity, f"blob {identity}")
        return raw

    def used(self, run: Run) -> list[str]:
        """Return the versions that a run used."""
        return [self.linked(link) for link in run.uses]

    def made(self, run: Run) -> list[str]:
        """Return the versions that a run made, and then those that it made again."""
        first = [
            (version.at, f"{artifact.name}:v{version.number}")
            for artifact in self.artifacts
            for version in artifact.versions.values()
            if version.said.get("provenance", {}).get("run") == run.id
        ]
        return [name for _, name in sorted(first)] + [self.linked(link) for link in run.made_again]

    def linked(self, link: Json) -> str:
        """Return the version that an event means, or what it says where that is not known here."""
        found = [
            (artifact.folder != link["artifact"], artifact.name, abs(version.number - link["version"]), version.number)
            for artifact in self.artifacts
            for version in artifact.versions.values()
            if version.manifest == link["manifest"]
        ]
        if not found:
            return f"{link['artifact']}:v{link['version']}?"
        _, name, _, number = min(found)
        return f"{name}:v{number}"

    def manifest(self, version: Version) -> Json:
        digits = version.manifest.removeprefix("blake3:")
        place = self.root / "manifests" / f"{digits}.json.zst"
        aside = next((self.root / "manifests").glob(digits + ASIDE), place)
        return read_manifest(place if place.exists() else aside, version.manifest)

    def chunk(self, identity: bytes, path: tuple[bytes, ...] = ()) -> bytes:
        """Return a chunk's bytes, from any of its places; `path` is the chunks that rest on it."""
        require(identity not in path and len(path) <= 64, "a chain of bases is too long")
        failure = Damaged(f"chunk {identity.hex()} is missing")
        for place in self.places.get(identity, ()):
            try:
                return self.decoded(place, identity, path)
            except Damaged as damaged:
                failure = damaged
        raise failure

    def decoded(self, place: Place, identity: bytes, path: tuple[bytes, ...]) -> bytes:
        raw_size, encoding, _ = place.head
        base = b"".join(self.chunk(one, (*path, identity)) for one in place.bases)
        require(bool(place.bases) == (16 <= encoding < 32), "bases where none belong, or none where some do")
        raw = decode(encoding, read_frame(place), raw_size, self.needed, base)
        require(len(raw) == raw_size and blake3.blake3(raw).digest() == identity, f"chunk {identity.hex()}")
        return raw

    def restore(self, version: Version, target: Path) -> None:
        """Write the files of a version into a new folder."""
        manifest = self.manifest(version)
        check_collisions([file["path"] for file in manifest["files"]] + manifest["folders"])
        target.mkdir(parents=True)
        for folder in manifest["folders"]:
            (target / folder).mkdir(parents=True)
        for file in manifest["files"]:
            path = target / file["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                for chunk, length in zip(file["chunks"], file["lengths"], strict=True):
                    raw = self.chunk(bytes.fromhex(chunk))
                    require(len(raw) == length, f"the length of chunk {chunk}")
                    out.write(raw)
            path.chmod(0o755 if file.get("executable") else 0o644)

    def restore_all(self, target: Path) -> None:
        for artifact in self.artifacts:
            for version in artifact.versions.values():
                if version.removed and not self.has(version):
                    continue
                self.restore(version, target / artifact.name / f"v{version.number}")


if __name__ == "__main__":
    Repository(Path(sys.argv[1])).restore_all(Path(sys.argv[2]))
