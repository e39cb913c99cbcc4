"""Runs as they are recorded: `begin` → `use`, `configure`, and what `mlver add` makes → `end`. All in one log.

`blobs` keeps what is too large for events, `find` names runs, `current` knows the run that a command is part of, and
`circles` sees to it that nothing follows from itself.
"""
