"""Frames that lie near each other in a pack, to be read by one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlver.store.chunk_index import Location


def stretches(places: Iterable[Location], most_bytes: int, gap_bytes: int = 0) -> Iterator[list[Location]]:
    """Yield places, in their order, in groups of one pack each.

    Args:
        places: Where frames are.
        most_bytes: How far a group reaches at most, unless it is a single frame.
        gap_bytes: What may lie between two frames of a group.
    """
    group: list[Location] = []
    for place in places:
        if group:
            last, entry = group[-1], place.entry
            gap = entry.offset - (last.entry.offset + last.entry.frame_length)
            reach = entry.offset + entry.frame_length - group[0].entry.offset
            if place.pack != last.pack or not 0 <= gap <= gap_bytes or reach > most_bytes:
                yield group
                group = []
        group.append(place)
    if group:
        yield group
