"""`reproduce`: what it takes to make a version again, found out, said, and prepared; never run.

`recipe` reads what was recorded, `missing` says what of it is not here, `script` writes it down for a shell, and
`prepare` makes a worktree of it.
"""
