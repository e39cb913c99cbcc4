"""Watches the order in which a command publishes: packs → manifest → event → what it says.

Whoever sees a name relies on all that it names. So when a manifest gets its name, no pack of its store may be one that
a power cut would take; when an event does, no manifest either; and when a command says that it is done, nothing at all.
When a pack goes, no manifest that went before may be one that a power cut would bring back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.fault.disk import Disk
from tests.fault.scene import Scene

_PUBLISHED = re.compile(
    r"(?P<root>.*?)(?P<kind>packs|manifests|log|names|runs/log)/(?:.*/)?[^/]+\.(?:pack|json|json\.zst)$"
)
_BEFORE = {"packs": (), "manifests": ("packs",), "log": ("packs", "manifests"), "names": (), "runs/log": ()}
_TOLD = re.compile(
    r"(?P<root>.*?)(packs|manifests|log|names|runs/log)/.*\.(pack|json|json\.zst)$|(.*/)?(HEAD|config.toml|format)$|.*/out/"
)
_STAGED = re.compile(r"\.mlver-pull-|\.aside$")


def violations(scene: Scene) -> Iterator[str]:
    """Yield what was published or said before what it rests on was durable."""
    disk = Disk.of(scene.start, scene.world)
    for number, call in enumerate(scene.calls):
        disk.apply(call)
        if call.ended:
            continue
        if call.name.startswith(("link", "rename")):
            name = call.paths[1].removeprefix(f"{scene.world}/")
            early = _too_early(name, disk)
        elif call.name.startswith("unlink"):
            name = call.paths[0].removeprefix(f"{scene.world}/")
            yield from (f"call {number}: {name} goes before {one} is gone for good" for one in _too_late(name, disk))
            continue
        elif call.tells():
            name, early = "the word that all is done", [name for name in disk.undurable() if _is_promised(name)]
        else:
            continue
        yield from (f"call {number}: {name} comes before {one} is durable" for one in early)


def published(scene: Scene) -> list[str]:
    """Return the kinds of what a command published, in order."""
    named = [call.paths[1] for call in scene.calls if call.name.startswith(("link", "rename")) and not call.ended]
    return [match["kind"] for match in map(_PUBLISHED.match, named) if match]


def _too_early(name: str, disk: Disk) -> list[str]:
    match = _PUBLISHED.match(name)
    if match is None:
        return []
    below = tuple(f"{match['root']}{kind}/" for kind in _BEFORE[match["kind"]])
    return [other for other in disk.undurable() if below and other.startswith(below) and not _STAGED.search(other)]


def _too_late(name: str, disk: Disk) -> list[str]:
    match = _PUBLISHED.match(name)
    if match is None or match["kind"] != "packs":
        return []
    below = f"{match['root']}manifests/"
    return [
        gone for change in disk.pending for gone in change.gone if gone.startswith(below) and gone not in disk.names
    ]


def _is_promised(name: str) -> bool:
    return _TOLD.match(name) is not None and not _STAGED.search(name)
