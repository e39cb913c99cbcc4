"""`diff`: what changed between two versions, or a version and a folder, and how much.

diff: revisions → manifests → pairs of files and tensors → chunks of those that differ → figures → one result

`mlver.ops.diff.diff` reads as this line; `result` is what comes out.
"""
