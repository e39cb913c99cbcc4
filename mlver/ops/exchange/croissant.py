"""Croissant: what a version's files are, for tools that load datasets.

Source: http://mlcommons.org/croissant/1.0 (the files; what is in their rows, nobody has told).
"""

from __future__ import annotations

import re
from typing import Any

from mlver.digests import blake3_hex
from mlver.ops.exchange.described import DescribedFile, DescribedVersion, described_text

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def croissant(described: DescribedVersion) -> dict[str, Any]:
    """Return a version as a Croissant dataset: its files by their paths beside this document."""
    version = described.version
    document: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": version.artifact,
        "description": described_text(version),
        "version": f"{version.number}.0.0",
        "datePublished": version.created_at,
        "creator": {"@type": "sc:Person", "name": version.created_by},
        "identifier": version.id,
        "distribution": [_file(file) for file in described.files],
    }
    if any(file.sha256 is None for file in described.files):
        document["isLiveDataset"] = True  # files that stay where they are, of which no checksum is known that it has
    if version.tags:
        document["keywords"] = list(version.tags)
    for key in ("license", "url", "citeAs"):
        if isinstance(version.metadata.get(key), str):
            document[key] = version.metadata[key]
    return document


def _file(file: DescribedFile) -> dict[str, Any]:
    entry = {
        "@type": "cr:FileObject",
        "@id": _id(file.path),
        "name": file.path,
        "contentUrl": file.uri or file.path,
        "contentSize": f"{file.size_bytes} B",
        "encodingFormat": file.media_type,
    }
    return entry if file.sha256 is None else {**entry, "sha256": file.sha256}


def _id(path: str) -> str:
    """Return what a file is called in the document: readers take no white space in it, not even percent-encoded."""
    return path if not re.search(r"\s|^file-[0-9a-f]{16}$", path) else f"file-{blake3_hex(path.encode())[:16]}"
