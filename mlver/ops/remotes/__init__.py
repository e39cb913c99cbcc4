"""Verbs that speak with a remote: `remote`, `push`, `fetch`, `clone`, and the part of `pull` that gets what is missing.

push:   missing chunks → frames as they are → packs → manifests → events, created exclusively
fetch:  events → the same events here, under the same numbers; unpushed ones come after them
"""
