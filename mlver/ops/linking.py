"""Which files of a version tell of each other: those with the names and places of weights, and those that have them.

The former are looked into before anything is stored: what they say decides how the latter are cut and listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from mlver.errors import ConflictError
from mlver.formats import External, beside, parse
from mlver.ops.entries import IngestedFile
from mlver.ops.scan import Source
from mlver.ops.source_file import OpenFile, open_source, unreadable
from mlver.ops.stat_cache import Stamp

_SUFFIXES = (".onnx", ".metadata", ".index")


def link(sources: Sequence[Source]) -> list[Source]:
    """Return the sources, each with what the others say of it.

    Raises:
        MlverError: A model cannot be read.
    """
    models = [source for source in sources if source.path.lower().endswith(_SUFFIXES)]
    external = {model.path: tensors for model in models if (tensors := _external(model))}
    told = beside(external, {source.path for source in sources}) if external else {}
    return [replace(source, others=told.get(source.path)) for source in sources] if told else list(sources)


def check_linked(sources: Iterable[Source], read: Mapping[str, IngestedFile]) -> None:
    """Make sure that the files that tell of each other did not change between looking into them and storing them.

    Raises:
        ConflictError: One did.
    """
    for source in sources:
        if source.others is not None and read[source.path].stamp != source.stamp:
            raise ConflictError(f"{source.location} changes while it is read.", "Add it when its writer is done.")


def _external(model: Source) -> tuple[External, ...]:
    """Return what a model places in other files; nothing if it changed since it was found."""
    descriptor = open_source(model)
    try:
        if Stamp.of(os.fstat(descriptor)) != model.stamp:
            return ()  # read on its own it counts as a whole
        layout = parse(OpenFile(descriptor, model.stamp.size_bytes))
    except OSError as error:
        raise unreadable(model, error) from error
    finally:
        os.close(descriptor)
    return layout.external if layout else ()
